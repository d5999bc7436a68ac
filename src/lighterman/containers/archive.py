"""Files of a container, read and written from outside: `docker cp`.

A container that runs is looked at through the root of its process, so that everything is where it sees it;
of one that does not, the layer is mounted and its volumes, binds and network files are put into a worker's
view of it. Either way the worker's lookups cannot leave that root, and nothing in it is run or loaded.
"""

import os
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, nullcontext, suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.archive import ContainerPathStat
from lighterman.containers.container_path import absolute, base
from lighterman.containers.errors import NoSuchFile, UnderRemoval
from lighterman.containers.life import Creating, Removing
from lighterman.containers.mounts import BindMount, VolumeMount
from lighterman.containers.network_owner import network_owner
from lighterman.containers.rootfs import find_user, make_directory
from lighterman.containers.state import Container, Containers
from lighterman.content import (
    JobFailed,
    PackPath,
    PathStat,
    Place,
    PutArchive,
    StatPath,
    View,
    fed,
    read_prelude,
    written,
)
from lighterman.errdefs import EngineError, InvalidParameter, NotFound, System
from lighterman.lib.effects import in_thread
from lighterman.lib.go_mode import go_mode
from lighterman.lib.go_time import rfc3339_nano
from lighterman.linux import userns
from lighterman.runtime import ProcessGone

_PATH = os.O_PATH | os.O_CLOEXEC
_RUNTIMES_PLACES = ("/proc", "/dev", "/sys")
"""What the OCI runtime mounts is no content: archives have these directories, and nothing in them."""
_NETWORK_FILES = ("hosts", "hostname", "resolv.conf")


class _Root(Struct, frozen=True):
    """A container's root: what a job needs of it."""

    view: View
    fds: tuple[int, ...]
    closed: tuple[bytes, ...] = ()


async def path_stat(cs: Containers, ref: str, path: str) -> ContainerPathStat:
    """What is at `path`. Source: ContainerArchiveInfo.

    Raises: NoSuchContainer, NoSuchFile, InvalidParameter.
    """
    container, where = _understood(cs, ref, path)
    async with _root(cs, container) as root:
        try:
            found = await cs.workers.run(StatPath(root.view, where.encode()), root.fds)
        except JobFailed as failed:
            raise _refusal(failed, ref, path) from failed
    return _on_the_wire(found, where)


async def archive(
    cs: Containers, ref: str, path: str, *, gzip: bool = False
) -> tuple[ContainerPathStat, AsyncIterator[bytes]]:
    """What is at `path`, and the tar archive of it as it is made. Source: ContainerArchive.

    Raises: NoSuchContainer, NoSuchFile, InvalidParameter; the iterator raises System.
    """
    container, where = _understood(cs, ref, path)
    pieces = _pieces(cs, container, where, gzip=gzip)
    try:
        found = msgspec.msgpack.decode(await anext(pieces), type=PathStat)
    except JobFailed as failed:
        raise _refusal(failed, ref, path) from failed
    cs.publish(container, "archive-path")
    return _on_the_wire(found, where), pieces


async def _pieces(
    cs: Containers, container: Container, where: str, *, gzip: bool
) -> AsyncGenerator[bytes, None]:
    """The PathStat as the worker tells it, then the archive."""
    async with _root(cs, container) as root:
        name = base(where).encode()
        job = PackPath(root.view, where.encode(), name, root.closed, gzip=gzip)
        async with aclosing(read_prelude(written(cs.workers, job, root.fds))) as pieces:
            yield await anext(pieces)
            try:
                async for piece in pieces:
                    yield piece
            except JobFailed as failed:
                raise System(f"the archive of {where} broke off: {failed}") from failed


async def put_archive(
    cs: Containers,
    ref: str,
    path: str,
    stream: AsyncIterator[bytes],
    *,
    keep_kinds: bool = False,
    to_user: bool = False,
) -> None:
    """Unpack the tar archive in `stream`, compressed or not, into the directory `path`.

    `keep_kinds`: no directory is replaced by something else, nor the other way round. `to_user`: everything
    is to be the container's user's. Raises: NoSuchContainer, NoSuchFile, InvalidParameter, System.
    Source: PutContainerArchive.
    """
    container, where = _understood(cs, ref, path)
    async with _root(cs, container) as root:
        owner = await in_thread(_owner, container, root.fds[0]) if to_user else None
        job = PutArchive(root.view, where.encode(), keep_kinds=keep_kinds, owner=owner)
        try:
            await fed(cs.workers, job, root.fds, stream)
        except JobFailed as failed:
            raise _refusal(failed, ref, path, putting=True) from failed
        cs.publish(container, "extract-to-dir")


def _understood(cs: Containers, ref: str, path: str) -> tuple[Container, str]:
    """The container, and the path as an absolute one."""
    if not path:
        raise InvalidParameter("bad parameter: pathcannot be empty")
    if "\0" in path:
        raise InvalidParameter("lstat: invalid argument: a path has no NUL")
    container = cs.find(ref)
    if isinstance(container.life, Creating | Removing):
        raise UnderRemoval(container.id)
    return container, absolute(path)


def _on_the_wire(found: PathStat, where: str) -> ContainerPathStat:
    return ContainerPathStat(
        name=base(where),
        size=found.size,
        mode=go_mode(found.mode),
        mtime=rfc3339_nano(found.mtime_ns),
        link_target=found.link.decode(errors="replace"),
    )


def _refusal(failed: JobFailed, ref: str, path: str, *, putting: bool = False) -> EngineError:
    """What a client hears of it, in the words of dockerd 20.10.24."""
    match failed.kind:
        case "missing":
            return NoSuchFile(path, ref)
        case "no_directory" if putting:
            return InvalidParameter("extraction point is not a directory")
        case "no_directory":
            return InvalidParameter(f"lstat {path}: not a directory")
        case "read_only":
            return InvalidParameter("mounted volume is marked read-only")
        case "read_only_root":
            return InvalidParameter("container rootfs is marked read-only")
    if not putting:
        return System(str(failed))
    reader = "archive/tar: " if str(failed).startswith("invalid tar header") else ""
    text = f"Error processing tar file(exit status 1): {reader}{failed}"
    return InvalidParameter(text) if failed.kind in ("refused", "damaged") else System(text)


def _owner(container: Container, root: int) -> tuple[int, int] | None:
    """Who the container's user is in its own files, never in those of the host. None: root."""
    if not container.config.user:
        return None
    user = find_user(Path(f"/proc/self/fd/{root}"), container.config.user, ())
    return user.uid, user.gid


# The root


@asynccontextmanager
async def _root(cs: Containers, container: Container) -> AsyncIterator[_Root]:
    """The root as the container sees it, for as long as the block lasts, whatever becomes of it meanwhile."""
    async with AsyncExitStack() as stack:
        volumes: dict[str, Path] = {}
        for mount in container.mounts:
            if isinstance(mount, VolumeMount):
                visit = cs.volumes.visited(
                    mount.name, container.id, destination=mount.target, writable=not mount.read_only
                )
                volumes[mount.name] = await stack.enter_async_context(visit)
        id_map = cs.id_map(container)
        root = await in_thread(_open_living, cs, container) if container.runs else None
        if root is None:
            layer = await stack.enter_async_context(cs.snapshots.visited(container.id, id_map))
            if not container.attempted:
                await in_thread(_make_working_directory, layer, container.config.working_dir, id_map)
            sources = list(_sources(cs, container, volumes))
            root = await in_thread(_open_still, layer, sources, container.host_config.readonly_rootfs)
        if id_map is not None:
            root = await in_thread(_mapped, root, id_map)
        for fd in root.fds:
            stack.callback(os.close, fd)
        yield root


def _make_working_directory(layer: Path, path: str, id_map: userns.IdMap | None) -> None:
    """Before the first start makes it: clients fill it first. Blocks."""
    if path in ("", "/"):
        return
    with userns.acting_as(*id_map.root) if id_map else nullcontext(), suppress(InvalidParameter):
        make_directory(layer, path)  # what is in its way, the start tells


def _mapped(root: _Root, id_map: userns.IdMap) -> _Root:
    """The root as those see it who live in it."""
    view = msgspec.structs.replace(root.view, mapped_root=id_map.root)
    return replace(root, view=view, fds=(*root.fds, os.dup(userns.of_map(id_map))))


def _open_living(cs: Containers, container: Container) -> _Root | None:
    """None: it ended just now."""
    try:
        fd = cs.runtime.open_root(container.id)
    except ProcessGone:
        return None
    own = {mount.target for mount in container.mounts}
    closed = tuple(place.encode() for place in _RUNTIMES_PLACES if place not in own)
    return _Root(View(), (fd,), closed)


def _sources(cs: Containers, container: Container, volumes: dict[str, Path]) -> Sequence[tuple[Path, Place]]:
    """What is mounted into a container when it runs, those above before those below; no tmpfs."""
    found: dict[str, tuple[Path, Place]] = {}
    if container.attempted:
        with suppress(NotFound):  # its files went with the one whose network it used
            home = cs.settings.home(network_owner(container, cs.find).id)
            found = {f"/etc/{name}": (home / name, Place(f"/etc/{name}".encode())) for name in _NETWORK_FILES}
    for mount in container.mounts:
        place = Place(mount.target.encode(), mount.read_only)
        if isinstance(mount, VolumeMount):
            found[mount.target] = (volumes[mount.name], place)
        elif isinstance(mount, BindMount):
            recursive = msgspec.structs.replace(place, recursive=mount.recursive)
            found[mount.target] = (Path(mount.source), recursive)
    return [
        found[target] for target in sorted(found, key=lambda target: posixpath.dirname(target).count("/"))
    ]


def _open_still(layer: Path, sources: Sequence[tuple[Path, Place]], read_only: bool) -> _Root:
    """Open the layer and what belongs into it; sources that are not there are left out."""
    fds = [os.open(layer, _PATH | os.O_DIRECTORY)]
    places: list[Place] = []
    for source, place in sources:
        with suppress(FileNotFoundError):
            fds.append(os.open(source, _PATH))
            places.append(place)
    return _Root(View(tuple(places), read_only), tuple(fds))
