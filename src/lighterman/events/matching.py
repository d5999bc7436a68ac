"""Which events a listener asked for."""

from lighterman.apitypes.event import Event
from lighterman.lib.filters import Filters

_OBJECTS = (
    "container",
    "image",
    "volume",
    "network",
    "daemon",
    "plugin",
    "node",
    "service",
    "secret",
    "config",
)


def matches(event: Event, filters: Filters) -> bool:
    """Whether `event` is one of those that `filters` ask for; unknown names are no hindrance.

    An object is named by its id, a prefix of it, or its name. Source: events filter of dockerd 20.10.
    """
    return (
        _is_action(event, filters)
        and filters.exact("type", event.type)
        and filters.exact("scope", event.scope)
        and filters.labels(event.actor.attributes)
        and all(_is_object(event, kind, filters.get(kind)) for kind in _OBJECTS if kind in filters)
    )


def _is_action(event: Event, filters: Filters) -> bool:
    wanted = filters.get("event")
    # exec_start: sh -c ls is found by "exec_start", health_status: healthy by "health_status"
    return not wanted or event.action in wanted or event.action.partition(":")[0] in wanted


def _is_object(event: Event, kind: str, refs: tuple[str, ...]) -> bool:
    attributes = event.actor.attributes
    if event.type != kind:
        # an image is also named by the containers made from it
        return kind == "image" and "image" in attributes and _names(attributes["image"], refs)
    return any(
        event.actor.id == ref or event.actor.id.startswith(ref) or attributes.get("name") == ref
        for ref in refs
    ) or (kind == "image" and _names(event.actor.id, refs))


def _names(image: str, refs: tuple[str, ...]) -> bool:
    return image in refs or image.rpartition(":")[0] in refs
