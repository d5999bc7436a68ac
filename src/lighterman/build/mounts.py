"""`RUN --mount`: places that a step finds and that do not become part of its image.

A *bind* shows the context, a stage or an image; written to, it forgets what was written. A *cache* is a
directory that outlives builds (`caches.py`), and may begin with files of a stage or an image. A *tmpfs* is
memory. What a runtime makes to mount on is taken away again.
"""

import os
import posixpath
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from lighterman.apitypes.container import Mount
from lighterman.build import lent
from lighterman.build.caches import Beginning, Caches
from lighterman.content import open_in_root
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import RunMount
from lighterman.lib.effects import in_thread
from lighterman.lib.go_quote import go_quote
from lighterman.snapshots import Drafts

LENT = ("secret", "ssh")
"""Kinds that come from the client."""


class MountPlan(Struct, frozen=True):
    """What the container of a step is given, and what the cache has to know of it."""

    mounts: list[Mount]
    stubs: tuple[bytes, ...]


def target_of(mount: RunMount, working_dir: str) -> str:
    """Where in the root it is seen. Raises: InvalidParameter. Pure."""
    wanted = lent.target_of(mount) if mount.kind in LENT else mount.target
    if not wanted:
        raise InvalidParameter(f"a mount of type {mount.kind} needs a target")
    target = posixpath.normpath(posixpath.join("/", working_dir, wanted))
    if target in ("/", "//"):
        raise InvalidParameter("invalid mount target /")
    return target


def told(mount: RunMount) -> str:
    """The mount as the cache of steps knows it. Pure."""
    return repr(mount)


def check(mount: RunMount) -> None:
    """Raises: InvalidParameter: it says what has no effect."""
    if mount.kind in ("tmpfs", "ssh"):
        for name, value in (("from", mount.source_from), ("source", mount.source)):
            if value:
                raise InvalidParameter(f"{name} not allowed for {go_quote(mount.kind)} type mounts")


async def prepared(
    stack: AsyncExitStack,
    mounts: Sequence[RunMount],
    *,
    working_dir: str,
    root: Path,
    place: Callable[[str], Awaitable[Path]],
    lend: Callable[[RunMount, str], Awaitable[Mount | None]],
    beginning: Callable[[RunMount], Awaitable[Beginning]],
    drafts: Drafts,
    caches: Caches,
) -> MountPlan:
    """Everything that the step is to find, until `stack` ends. `root` shows what the step stands on.

    Raises: InvalidParameter, System.
    """
    wished: list[Mount] = []
    stubs: list[bytes] = []
    directories: dict[RunMount, Path] = {}
    # always in one order: two steps that lock two caches must not wait for each other
    for mount in sorted(
        (each for each in mounts if each.kind == "cache"), key=lambda each: each.id or each.target
    ):
        files = await beginning(mount) if mount.source_from else None
        held = caches.held(mount, target_of(mount, working_dir), files)
        directories[mount] = await stack.enter_async_context(held)
    for mount in mounts:
        target = target_of(mount, working_dir)
        if mount.kind in LENT:
            if (wish := await lend(mount, target)) is None:
                continue
            wished.append(wish)
        stubs += await in_thread(_missing, root, target)
        if mount.kind in LENT:
            continue
        if mount.kind == "tmpfs":
            wished.append(Mount(type="tmpfs", target=target, read_only=mount.read_only))
            continue
        if mount.kind == "cache":
            # of a cache that begins with files the source says which ones
            source = await in_thread(_inside, directories[mount], "" if mount.source_from else mount.source)
        else:
            source = await place(mount.source_from)
            if not mount.read_only:
                source = (await stack.enter_async_context(drafts.draft_over([source]))).root
            source = await in_thread(_inside, source, mount.source)
        wished.append(Mount(type="bind", source=str(source), target=target, read_only=mount.read_only))
    return MountPlan(wished, tuple(dict.fromkeys(stubs)))


def _inside(root: Path, path: str) -> Path:
    """The file or directory in a root, with links resolved in it. Raises: InvalidParameter."""
    if not path or path == "/":
        return root
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(top, os.fsencode(path.lstrip("/") or "."), os.O_PATH)
    except OSError as error:
        raise InvalidParameter(f"the source {path} of a mount: not found") from error
    finally:
        os.close(top)
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


def _missing(root: Path, target: str) -> list[bytes]:
    """The parts of the way to a target that are not there, relative: the runtime will make them."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        missing: list[bytes] = []
        parts = target.strip("/").split("/")
        for end in range(1, len(parts) + 1):
            path = os.fsencode("/".join(parts[:end]))
            try:
                os.close(open_in_root(top, path, os.O_PATH))
            except OSError:
                missing.append(path)
        return missing
    finally:
        os.close(top)
