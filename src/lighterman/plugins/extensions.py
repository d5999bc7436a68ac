"""Python extensions: drivers that run in the engine itself, named by entry points. Blocks: it reads files.

The entry point `NAME` of the group `lighterman.VolumeDriver` (or another interface) is called without
arguments, once, when the driver is first asked for; what it gives implements the protocol in `interfaces`.
"""

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from lighterman.errdefs import System


@cache
def load(interface: str, name: str) -> Any:
    """The driver of this name, None where no package has it. Raises: System: it does not load."""
    for found in entry_points(group=f"lighterman.{interface}", name=name):
        try:
            return found.load()()
        except Exception as error:  # somebody else's code, which may raise whatever it likes
            raise System(f"the extension {name} ({found.value}) does not load: {error}") from error
    return None


def names(interface: str) -> list[str]:
    """The names of all drivers with this interface."""
    return sorted(entry_points(group=f"lighterman.{interface}").names)
