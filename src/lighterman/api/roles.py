"""Listeners with a role: what may be asked through them, and of it what is seen.

A *role* is up to three restrictions, each of which only takes away:

- ``read-only``: look, and change nothing; no file of a container, no key, no stream is given out.
- ``no-exec``: tend what there is, but no way into a container that there is: no exec, no input, no file put
  into it; and a container that is made cannot reach further than itself (`confined.py`).
- ``label``: of containers only those that carry it, whatever can be done to them; a new one gets it, and is
  confined likewise. Networks and volumes that carry it can be looked at and used, images can be looked at.

`may` decides by the table of operations (`acts.py`); `Role.admit` then narrows what is asked: a reference
becomes the full id of a container that carries the label, a list gets one more filter, a body comes back with
the label in it. What a handler gets is what was looked at, so nothing can change in between. What is in no
table is refused.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from msgspec import Struct
from msgspec.structs import replace

from lighterman.api.acts import ACTS, Act, Of
from lighterman.errdefs import Forbidden, InvalidParameter, NotFound
from lighterman.lib.filters import Filters

if TYPE_CHECKING:
    from lighterman.api.request import Request
    from lighterman.api.rooms import Rooms
    from lighterman.api.routes import Route

NO_EXEC: frozenset[tuple[Act, Of]] = frozenset(
    {
        *((Act.LOOK, of) for of in Of),
        *((act, Of.CONTAINER) for act in (Act.READ, Act.TEND, Act.MAKE, Act.ATTACH)),
        *((act, Of.IMAGE) for act in (Act.READ, Act.TEND, Act.PULL)),
        (Act.ASK, Of.REGISTRY),
    }
)
"""What can be done without a way into a container, and without making images that others will run."""
FOR_LABEL: frozenset[tuple[Act, Of]] = frozenset(
    {
        *((Act.LOOK, of) for of in (Of.ENGINE, Of.EVENTS, Of.IMAGE, Of.NETWORK, Of.VOLUME)),
        *((act, of) for act in Act for of in (Of.CONTAINER, Of.EXEC)),
    }
)
_AS_THEY_ARE = frozenset(
    {"SystemInfo", "SystemPing", "SystemVersion", "ImageHistory", "ImageInspect", "ImageList"}
)
"""Of what a label lets through: these tell nothing of single containers."""
_FILTERED = frozenset({"ContainerList", "ContainerPrune", "NetworkList", "SystemEvents", "VolumeList"})
_ATTRIBUTES = frozenset(
    {
        *("comment", "execID", "exitCode", "height", "image", "imageID", "imageRef", "name", "oldName"),
        *("reclaimed", "signal", "width"),
    }
)
"""What events tell of containers beside their labels: no key of a role, or all events would match it."""


class Role(Struct, frozen=True):
    """What a listener's clients may do; the default is a role that takes nothing away."""

    read_only: bool = False
    no_exec: bool = False
    label: str = ""
    """"key" or "key=value"; "" for none."""

    def __str__(self) -> str:
        words = {"read-only": self.read_only, "no-exec": self.no_exec, f"label {self.label}": self.label}
        return ", ".join(word for word, holds in words.items() if holds)

    async def admit(self, route: "Route", request: "Request", rooms: "Rooms") -> "Request":
        """The request as its handler may have it. Raises: Forbidden; NotFound for what is not theirs."""
        if not may(self, route.operation):
            raise self.refusal(route.operation)
        act, _ = ACTS[route.operation]
        if "=" in request.text("ps_args"):  # another column called PID shows processes of the host
            raise self.refusal("ps_args with =")
        if self.no_exec:
            if act is Act.ATTACH and has_input(route.operation, request):
                raise self.refusal(f"{route.operation} with stdin")
            if act is Act.PULL and not request.text("fromImage"):
                raise self.refusal(f"{route.operation} from a file")
        if self.label:
            request = _narrowed(self, route, request, rooms)
        if route.operation in ("ContainerCreate", "ContainerUpdate", "ContainerExec"):
            from lighterman.api import confined  # few engines have listeners with a role

            request = await confined.checked(self, route.operation, request, rooms)
        return request

    def refusal(self, what: str) -> Forbidden:
        """The error for `what` is not for these clients."""
        return Forbidden(f"this listener is {self}: {what} is refused")

    def carries(self, labels: Mapping[str, str] | None) -> bool:
        """Whether these are the labels of something that its clients may see."""
        return bool(self.label) and Filters({"label": (self.label,)}).labels(labels)


def parse_role(text: str) -> Role:
    """The role of "role=no-exec&label=team=a". Raises: InvalidParameter."""
    role = Role()
    try:
        wishes = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise InvalidParameter(f"no role: {text!r}") from None
    for key, value in wishes:
        match key, value:
            case "role", "read-only":
                role = replace(role, read_only=True)
            case "role", "no-exec":
                role = replace(role, no_exec=True)
            case "label", _ if not role.label:
                role = replace(role, label=_checked_label(value))
            case _:
                raise InvalidParameter(
                    f"no role: {key}={value} (role=read-only, role=no-exec, label=KEY=VALUE)"
                )
    if role == Role():
        raise InvalidParameter("no role: it takes nothing away")
    return role


def _checked_label(text: str) -> str:
    key = text.partition("=")[0]
    if not key or key in _ATTRIBUTES:
        raise InvalidParameter(f"no label for a role: {text!r}")
    return text


def may(role: Role, operation: str) -> bool:
    """Whether the operation can be for clients of this role at all. Pure; False for what is in no table."""
    done = ACTS.get(operation)
    if done is None:
        return False
    return (
        (not role.read_only or done[0] is Act.LOOK)
        and (not role.no_exec or done in NO_EXEC)
        and (not role.label or done in FOR_LABEL)
    )


def has_input(operation: str, request: "Request") -> bool:
    """Whether an attach may send to the process; over a websocket it could not be left out below 1.42."""
    always = operation == "ContainerAttachWebsocket" and request.version < (1, 42)
    return always or request.flag("stdin")


# What carries the label


def _narrowed(role: Role, route: "Route", request: "Request", rooms: "Rooms") -> "Request":
    _, of = ACTS[route.operation]
    if "{" in route.path and of in _PINNED:
        if request.flag("link"):  # it is a name of another container's
            raise role.refusal(f"{route.operation} with link")
        ((key, ref),) = request.names.items()
        return replace(request, names={key: _PINNED[of](role, rooms, ref)})
    if route.operation in _FILTERED:
        return _filtered(role, of, request, rooms)
    if route.operation in _AS_THEY_ARE or route.operation == "ContainerCreate":
        return request
    raise role.refusal(route.operation)


def own(role: Role, rooms: "Rooms", ref: str) -> str:
    """The id of a container that carries the label. Raises: NotFound, for somebody else's too."""
    container = rooms.containers.find(ref)
    if not role.carries(container.config.labels):
        raise NotFound(f"No such container: {ref}")
    return container.id


def _exec(role: Role, rooms: "Rooms", ref: str) -> str:
    found = rooms.containers.execs.get(ref)
    if found is None or not role.carries(rooms.containers.find(found.container_id).config.labels):
        raise NotFound(f"No such exec instance: {ref}")
    return ref


def _network(role: Role, rooms: "Rooms", ref: str) -> str:
    row = rooms.networks.find(ref)
    if not role.carries(row.labels):
        raise NotFound(f"network {ref} not found")
    return row.id


def _volume(role: Role, rooms: "Rooms", ref: str) -> str:
    if not role.carries(rooms.volumes.find(ref).labels):
        raise NotFound(f"get {ref}: no such volume")
    return ref


_PINNED: Mapping[Of, Callable[[Role, "Rooms", str], str]] = {
    Of.CONTAINER: own,
    Of.EXEC: _exec,
    Of.NETWORK: _network,
    Of.VOLUME: _volume,
}


def _filtered(role: Role, of: Of, request: "Request", rooms: "Rooms") -> "Request":
    """The request with one more filter: the label, and of events only those of containers."""
    asked = request.filters()
    wanted = {**asked.wanted, "label": (*asked.get("label"), role.label)}
    for ref in (*asked.get("before"), *asked.get("since")) if of is Of.CONTAINER else ():
        own(role, rooms, ref)
    if of is Of.EVENTS:
        wanted["type"] = ("container",) if asked.exact("type", "container") else ("",)
    return request.with_filters(Filters(wanted))
