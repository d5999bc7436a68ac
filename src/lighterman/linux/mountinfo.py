"""The mounts of a process as values: `/proc/PID/mountinfo`, parsed.

Source: proc_pid_mountinfo(5). Reading it takes the kernel's namespace lock: tens of us for a hundred mounts.
"""

import re
from pathlib import Path

from msgspec import Struct


class Mount(Struct, frozen=True):
    """One line of mountinfo. `point` is where it is seen, `root` the part of the file system seen there."""

    id: int
    parent: int
    device: str  # major:minor
    root: str
    point: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]  # shared:N, master:N, ...; empty is private
    type: str
    source: str
    super_options: tuple[str, ...]


def parse_mountinfo(text: str) -> list[Mount]:
    """All mounts, in the kernel's order: a later mount on the same point hides the earlier."""
    return [_parse_line(line) for line in text.splitlines()]


def read_mountinfo(path: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """The mounts of this process, or of another one's file. Raises OSError."""
    # Paths are bytes: surrogateescape keeps a name that is not UTF-8, as os.fsencode expects it.
    return parse_mountinfo(path.read_text(errors="surrogateescape"))


def _parse_line(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    mount_id, parent, device, root, point, options, *propagation = before.split(" ")
    kind, source, super_options = after.split(" ", 2)
    return Mount(
        id=int(mount_id),
        parent=int(parent),
        device=device,
        root=_unescape(root),
        point=_unescape(point),
        options=tuple(options.split(",")),
        propagation=tuple(propagation),
        type=kind,
        source=_unescape(source),
        super_options=tuple(super_options.split(",")),
    )


def _unescape(text: str) -> str:
    """Space, tab, newline and backslash come as octal."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)
