"""Python extensions: drivers that run in the engine itself, named by entry points. Blocks: it reads files.

The entry point `NAME` of the group `lighterman.VolumeDriver` (or another interface) is called without
arguments, once, when the driver is first asked for; what it gives implements the protocol in `interfaces`.
It is somebody else's code, which may raise whatever it likes: to us that is the failure of a driver.
"""

import logging
from functools import cache
from importlib.metadata import entry_points
from inspect import iscoroutinefunction
from typing import Any

from lighterman.errdefs import EngineError, System

log = logging.getLogger(__name__)


class _Extension:
    """A driver whose errors are the engine's."""

    def __init__(self, name: str, driver: Any) -> None:
        self._name, self._driver = name, driver

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._driver, method)
        if not iscoroutinefunction(found):
            return found

        async def called(*args: Any, **options: Any) -> Any:
            try:
                return await found(*args, **options)
            except EngineError:
                raise
            except Exception as error:
                log.exception("op=%s extension=%s failed", method, self._name)
                raise System(f"the extension {self._name} failed: {error!r}") from error

        return called


@cache
def load(interface: str, name: str) -> Any:
    """The driver of this name, None where no package has it. Raises: System: it does not load."""
    for found in entry_points(group=f"lighterman.{interface}", name=name):
        try:
            return _Extension(name, found.load()())
        except Exception as error:
            raise System(f"the extension {name} ({found.value}) does not load: {error}") from error
    return None


def names(interface: str) -> list[str]:
    """The names of all drivers with this interface."""
    return sorted(entry_points(group=f"lighterman.{interface}").names)
