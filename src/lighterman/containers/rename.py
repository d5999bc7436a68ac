"""Renaming."""

from lighterman.containers.errors import NameTaken
from lighterman.containers.names import check_name
from lighterman.containers.state import Containers
from lighterman.errdefs import Conflict, InvalidParameter


async def rename(cs: Containers, ref: str, name: str) -> None:
    """Give another name. Raises: NoSuchContainer, InvalidParameter, Conflict. Source: ContainerRename."""
    cs.find(ref)
    if not name:
        raise InvalidParameter("Neither old nor new names may be empty")
    async with cs.locked(ref) as container:
        wished = name.removeprefix("/")
        if wished == container.name:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        try:
            check_name(f"/{wished}")
            if wished in cs.names:
                raise NameTaken(wished, cs.names[wished])
        except InvalidParameter as error:
            raise InvalidParameter(f"Error when allocating new name: {error}") from None
        except NameTaken as error:
            raise Conflict(f"Error when allocating new name: {error}") from None
        renamed = await cs.record(container, durable=True, name=wished)
        await cs.networks.rename(container.id, wished)
        cs.publish(renamed, "rename", oldName=f"/{container.name}")
