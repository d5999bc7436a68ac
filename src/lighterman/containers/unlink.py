"""Taking a link of the default bridge away, by the name that it gives: "web/store"."""

from msgspec import structs

from lighterman.containers.errors import NoSuchContainer
from lighterman.containers.files import drop_link
from lighterman.containers.links import links_of, names_of, parse_link
from lighterman.containers.state import Containers
from lighterman.errdefs import Conflict
from lighterman.lib.effects import in_thread


async def unlink(cs: Containers, name: str) -> None:
    """Let the container before the slash know the other no more by the alias behind it; both stay.

    What its process has been told in its environment it keeps. Unlike dockerd's it stays so when the engine
    is started again. Raises: NoSuchContainer, Conflict: a container's own name.
    Source: ContainerDelete with `link`; rmLink of moby.
    """
    parent, slash, alias = name.strip("/").rpartition("/")
    if not slash:
        cs.find(name)
        raise Conflict("Conflict, cannot remove the default link name of the container")
    async with cs.locked(parent) as container:
        wish = container.host_config
        link = next((each for each in links_of(container, cs.find) if each.alias == alias), None)
        if link is None or "bridge" not in container.endpoints:
            raise NoSuchContainer(name)
        rest = [text for text in wish.links or () if parse_link(text)[1] != alias]
        if container.runs:
            await in_thread(drop_link, cs.settings, container.id, names_of(link))
        await cs.record(container, durable=True, host_config=structs.replace(wish, links=rest or None))
