"""Links: the old way by which one container of the default bridge is told of another. Pure.

On the default bridge a link is lines in `hosts` and variables of the environment, and the other container
must run. In users' networks it is a name that only this container has for the other (`networks.names`). A
link is kept as `id:alias`, so that a new name of the other does not matter. Source: docker run --link.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from lighterman.containers.merge import given
from lighterman.containers.ports import exposed_ports
from lighterman.containers.state import Container
from lighterman.errdefs import Conflict, InvalidParameter, NotFound


class Link(Struct, frozen=True):
    """Another container, and what this one calls it."""

    container: Container
    alias: str


def parse_link(text: str) -> tuple[str, str]:
    """("db", "store") of "db:store"; the alias of a bare name is the name. Raises InvalidParameter."""
    name, colon, alias = text.partition(":")
    if not text:
        raise InvalidParameter("empty string specified for links")
    if not name or ":" in alias or (colon and not alias):
        raise InvalidParameter(f"bad format for links: {text}")
    return name.removeprefix("/"), alias.rpartition("/")[2] or name.removeprefix("/")


def links_of(container: Container, peer: Callable[[str], Container]) -> Iterator[Link]:
    """The links of a container to those that still exist."""
    for text in container.host_config.links or ():
        name, alias = parse_link(text)
        try:
            yield Link(peer(name), alias)
        except NotFound:
            continue


def check_link(link: Link, container: Container) -> None:
    """Raises Conflict for a link to what is elsewhere, or does not run."""
    if "bridge" not in link.container.endpoints:
        raise Conflict(f"Cannot link to /{link.container.name}, as it does not belong to the default network")
    if not link.container.runs:
        raise Conflict(
            f"Cannot link to a non running container: /{link.container.name} AS "
            f"/{container.name}/{link.alias}"
        )


def shown(container: Container, peer: Callable[[str], Container]) -> list[str] | None:
    """The links as inspect shows them: those of users' networks as they came."""
    if "bridge" not in container.endpoints:
        return container.host_config.links
    return [
        f"/{link.container.name}:/{container.name}/{link.alias}" for link in links_of(container, peer)
    ] or None


def names_by_links(containers: Iterable[Container], peer: Callable[[str], Container]) -> dict[str, list[str]]:
    """By container id the names that links of the default bridge give, as lists show them beside the own."""
    found: dict[str, list[str]] = {}
    for container in containers:
        if container.host_config.links and "bridge" in container.endpoints:
            for link in links_of(container, peer):
                found.setdefault(link.container.id, []).append(f"/{container.name}/{link.alias}")
    return found


def names_of(link: Link) -> str:
    """What the line in `hosts` calls the other: the alias, its host name and its name."""
    names = (link.alias, link.container.config.hostname, link.container.name)
    return " ".join(dict.fromkeys(name for name in names if name))


def variables(link: Link, parent: str, address: str) -> Iterator[str]:
    """What the environment of the container `parent` says of the other, which has this address."""
    prefix = link.alias.upper().replace("-", "_")
    ports = sorted(
        exposed_ports(link.container.config), key=lambda each: (each[1] != "tcp", each[1], each[0])
    )
    if ports:
        number, proto = ports[0]
        yield f"{prefix}_PORT={proto}://{address}:{number}"
    for number, proto in ports:
        name = f"{prefix}_PORT_{number}_{proto.upper()}"
        yield f"{name}={proto}://{address}:{number}"
        yield f"{name}_ADDR={address}"
        yield f"{name}_PORT={number}"
        yield f"{name}_PROTO={proto}"
    for (first, proto), last in _ranges(ports):
        name = f"{prefix}_PORT_{first}_{proto.upper()}"
        for end, number in (("START", first), ("END", last)):
            yield f"{name}_{end}={proto}://{address}:{number}"
            yield f"{name}_PORT_{end}={number}"
    yield f"{prefix}_NAME=/{parent}/{link.alias}"
    for variable in given(link.container.config.env) or ():
        name, equals, value = variable.partition("=")
        if equals and name not in ("HOME", "PATH"):
            yield f"{prefix}_ENV_{name}={value}"


def _ranges(ports: Sequence[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], int]]:
    """The first port of each row of neighbours, and the number of its last."""
    if not ports:
        return
    first = ports[0]
    for one, other in pairwise((*ports, (0, ""))):
        if other != (one[0] + 1, one[1]):
            if one != first:
                yield first, one[0]
            first = other
