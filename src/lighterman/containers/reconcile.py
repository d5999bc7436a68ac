"""Start-up is recovery."""

from collections.abc import Sequence

from lighterman.containers.state import Containers
from lighterman.runtime import Recovered


async def reconcile(cs: Containers, found: Sequence[Recovered]) -> None:
    """Bring rows and facts together at the start; `found` is the answer of `Runtime.recover`."""
    raise NotImplementedError
