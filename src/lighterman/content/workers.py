"""The daemon's end of the worker processes."""

from pathlib import Path


class Workers:
    """A helper process, started when first needed, that forks one child per job."""

    def __init__(self, root: Path) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        """End the helper and every job."""
        raise NotImplementedError
