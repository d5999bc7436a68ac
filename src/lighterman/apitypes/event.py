"""What `/events` sends. Source: SystemEvents; the legacy fields as dockerd 20.10.24 sends them."""

import msgspec

from lighterman.apitypes.wire import Wire


class Actor(Wire, frozen=True):
    """The object that the event happened to."""

    id: str = msgspec.field(name="ID")
    attributes: dict[str, str]


class Event(Wire, frozen=True, kw_only=True):
    """One thing that happened. `status`, `id` and `from` are there for containers and images only."""

    status: str | msgspec.UnsetType = msgspec.field(name="status", default=msgspec.UNSET)
    id: str | msgspec.UnsetType = msgspec.field(name="id", default=msgspec.UNSET)
    from_: str | msgspec.UnsetType = msgspec.field(name="from", default=msgspec.UNSET)
    type: str
    action: str
    actor: Actor
    scope: str = msgspec.field(name="scope", default="local")
    time: int = msgspec.field(name="time")
    time_nano: int = msgspec.field(name="timeNano")
