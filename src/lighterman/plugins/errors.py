"""What this room refuses, in dockerd's words. Source: plugin/errors.go of moby 20.10."""

from lighterman.errdefs import Conflict, InvalidParameter, NotFound, System


class NoSuchPlugin(NotFound):
    def __init__(self, ref: str) -> None:
        super().__init__(f'plugin "{ref}" not found')


class AmbiguousPlugin(InvalidParameter):
    def __init__(self, ref: str) -> None:
        super().__init__(f'multiple plugins found for "{ref}"')


class PluginDisabled(Conflict):
    def __init__(self, ref: str, action: str = "") -> None:
        text = f"plugin {ref} found but disabled"
        super().__init__(f"{action}: {text}" if action else text)


class PluginExists(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"plugin {name} already exists")


class PluginEnabled(Conflict):
    def __init__(self, name: str, action: str = "") -> None:
        super().__init__(f"{action}: plugin {name} is enabled" if action else f"plugin {name} is enabled")


class PluginInUse(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"plugin {name} is in use")


class NoCapability(InvalidParameter):
    """There is a plugin of that name, but it is of another kind."""

    def __init__(self, capability: str) -> None:
        super().__init__(f'plugin does not provide "{capability}" capability')


class NotImplementedByPlugin(NotFound):
    """A legacy plugin of that name says that it has no such interface."""

    def __init__(self) -> None:
        super().__init__("legacy plugin: Plugin does not implement the requested driver")


class CallFailed(System):
    """A plugin was asked and did not answer, or not so that it makes sense."""


class NoAnswer(CallFailed):
    """A plugin was asked and said nothing: it is not there, has ended, or takes longer than it may."""


class StatusRefused(CallFailed):
    """The plugin answered with a status that is no success."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class DriverRefused(System):
    """A plugin answered that it cannot, or will not; the text is its own."""


REFUSED = (DriverRefused, StatusRefused)
"""A plugin that says so has heard what it was asked, and has not done it."""
