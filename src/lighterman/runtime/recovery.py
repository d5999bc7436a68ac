"""What a daemon finds in its exec root when it starts: one `Found` per run that was not deleted."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from lighterman.linux import process
from lighterman.runtime import exec_root as places
from lighterman.runtime.fields import Fields
from lighterman.runtime.outcomes import Exit


class Found(Struct, frozen=True):
    """The files of one run, read."""

    key: tuple[str, str | None]
    directory: Path
    request: Fields
    state: Fields | None
    """None: it never ran, or in another boot of the machine."""
    exit: Exit | None


def find_runs(exec_root: Path) -> list[Found]:
    """All runs, a container's own before its execs."""
    boot = process.boot_id()
    return [_read(key, directory, boot) for key, directory in _directories(exec_root)]


def _directories(exec_root: Path) -> Iterator[tuple[tuple[str, str | None], Path]]:
    for container in sorted((exec_root / "c").iterdir()):
        yield (container.name, None), container
        for each in sorted((container / "x").glob("*")):
            yield (container.name, each.name), each


def _read(key: tuple[str, str | None], directory: Path, boot: str) -> Found:
    state = places.read_state(directory)
    if state is not None and state.text("boot") != boot:
        state = None
    return Found(key, directory, places.read_request(directory), state, places.read_exit(directory))
