"""What is remembered of the sandboxes that exist: one file each in the exec root.

They belong to what runs, not to what is configured, so they live where the boot forgets them; a file is
written before the first effect and deleted after the last.
"""

import os
from pathlib import Path

import msgspec

from lighterman.networks.sandbox import Sandbox

_DECODER = msgspec.json.Decoder(Sandbox)


class Records:
    """The directory of the files. All of it blocks for microseconds."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, sandbox: Sandbox) -> None:
        """Remember `sandbox`, in place of what was remembered of it."""
        path = self._path(sandbox.id)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(sandbox))
        part.rename(path)

    def delete(self, sandbox_id: str) -> None:
        """Forget; idempotent."""
        self._path(sandbox_id).unlink(missing_ok=True)

    def load(self) -> dict[str, Sandbox]:
        """All that is remembered, by id; half-written files are thrown away."""
        found = {}
        for entry in os.scandir(self._directory):
            if not entry.name.endswith(".json"):
                os.unlink(entry.path)
                continue
            sandbox = _DECODER.decode(Path(entry.path).read_bytes())
            found[sandbox.id] = sandbox
        return found

    def _path(self, sandbox_id: str) -> Path:
        return self._directory / f"{sandbox_id}.json"
