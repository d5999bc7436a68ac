"""Mounts that OCI runtimes must not see, and those that they share with the host.

crun 1.8 refuses to work where it sees the v2 hierarchy of a hybrid host: runtimes get a view without it
(`view`). Where the host's root is a private mount (no systemd), what a plugin mounts for others would not
come out of that view: so the engine's roots are made shared mounts first, by binding them onto themselves.
"""

from collections.abc import Sequence
from pathlib import Path

from lighterman.linux import mount
from lighterman.linux.cgroup import Layout
from lighterman.linux.mountinfo import Mount, read_mountinfo


def hidden_mounts(layout: Layout) -> list[str]:
    """What OCI runtimes must not see; [] where the host's namespace will do."""
    return [str(layout.unified)] if layout.mode == "hybrid" else []


def share(roots: Sequence[Path]) -> None:
    """Let what is mounted below `roots` from now on be seen on both sides. Raises: OSError."""
    for root in roots:
        root.mkdir(parents=True, exist_ok=True)
        lies_on = _mount_of(root.resolve(), read_mountinfo())
        if lies_on is None or not lies_on.propagation:
            mount.bind(str(root), str(root), recursive=True)
            mount.make_shared(str(root))


def unshare(roots: Sequence[Path]) -> None:
    """Undo `share`, but where something is mounted below: that belongs to containers that go on."""
    for root in roots:
        path = root.resolve()
        mounts = [each for each in read_mountinfo() if Path(each.point).is_relative_to(path)]
        if len(mounts) == 1 and mounts[0].point == str(path) and mounts[0].root != "/":
            mount.umount(str(path), detach=True)


def _mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that `path` lies on: the last of the deepest. None in a chroot that is no mount."""
    above = [each for each in mounts if path.is_relative_to(each.point)]
    return max(reversed(above), key=lambda each: len(each.point), default=None)
