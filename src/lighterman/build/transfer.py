"""COPY and ADD: what they mean, the digest that the cache goes by, and the copy itself.

Where files come from is a *place*: the context, a stage or an image, a download, or the Dockerfile's own
text. Everything that touches files is a worker's job.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lighterman.build.context import Context, archive_trouble
from lighterman.containers import group_number, read_text, user_number
from lighterman.content import CopySources, FindSources, JobFailed, Source, Workers, written
from lighterman.errdefs import EngineError, InvalidParameter, System
from lighterman.lib.dockerfile import Add, Transfer
from lighterman.lib.effects import in_thread
from lighterman.snapshots import Draft

_CHOWN = "unable to convert uid/gid chown string to host mapping:"


class Found(Struct, frozen=True):
    """The sources of one place."""

    root: Path
    sources: tuple[Source, ...]


def word(transfer: Transfer) -> str:
    """What the instruction is called."""
    return "ADD" if isinstance(transfer, Add) else "COPY"


async def find(
    workers: Workers, transfer: Transfer, place: Context, patterns: Sequence[str], *, unpack: bool
) -> Found:
    """What `patterns` mean in a place. Raises: InvalidParameter in Docker's words, System."""
    fds = await in_thread(_opened, [place.root, place.sums or Path("/dev/null")])
    job = FindSources(tuple(map(os.fsencode, patterns)), has_sums=place.sums is not None, unpack=unpack)
    try:
        listed = [piece async for piece in written(workers, job, fds)]
    except JobFailed as error:
        raise _not_found(error, transfer, of_context=place.sums is not None) from error
    finally:
        _close(fds)
    return Found(place.root, tuple(msgspec.msgpack.decode(b"".join(listed), type=list[Source])))


def _not_found(error: JobFailed, transfer: Transfer, *, of_context: bool) -> EngineError:
    path, where = str(error), "file not found in build context or excluded by .dockerignore: "
    match error.kind:
        case "missing":
            return InvalidParameter(
                f"{word(transfer)} failed: {where if of_context else ''}stat {path}: file does not exist"
            )
        case "outside":
            return InvalidParameter(
                f"{word(transfer)} failed: forbidden path outside the build context: {path} ()"
            )
        case "refused":
            return InvalidParameter(f"{word(transfer)} failed: {error}")
    return System(f"{word(transfer)} failed: {error}")


def of_web(found: Found) -> Found:
    """The same for what was downloaded: in histories its digest has no kind before it."""
    sources = (replace(source, digest=source.digest.removeprefix("file:")) for source in found.sources)
    return Found(found.root, tuple(sources))


def check(transfer: Transfer, found: Sequence[Found]) -> None:
    """Raises: InvalidParameter when what was found cannot be copied where it is to go."""
    count = sum(len(each.sources) for each in found)
    if not count:
        raise InvalidParameter(f"{word(transfer)} failed: no source files were specified")
    if count > 1 and not transfer.destination.endswith("/"):
        raise InvalidParameter(
            f"When using {word(transfer)} with more than one source file, the destination must be a "
            "directory and end with a /"
        )
    if transfer.chmod:
        mode(transfer)


def mode(transfer: Transfer) -> int | None:
    """The mode that everything gets; None: each keeps its own. Raises: InvalidParameter."""
    if not transfer.chmod:
        return None
    if set(transfer.chmod) - set("01234567") or len(transfer.chmod) > 5 or int(transfer.chmod, 8) > 0o7777:
        raise InvalidParameter(
            f"invalid chmod parameter: '{transfer.chmod}'. it should be octal string and between 0 and 07777"
        )
    return int(transfer.chmod, 8)


def comment(transfer: Transfer, found: Sequence[Found]) -> str:
    """What the history says of it; the digest in it stands for all that is copied."""
    digests = [source.digest for each in found for source in each.sources]
    digest = digests[0]
    if len(digests) > 1:
        digest = f"multi:{hashlib.sha256(','.join(digests).encode()).hexdigest()}"
    flags = f"--chown={transfer.chown}" if transfer.chown else ""
    flags += f"--chmod={transfer.chmod}" if transfer.chmod else ""
    return f"{word(transfer)} {flags}{digest} in {transfer.destination} "


async def copy(
    workers: Workers,
    transfer: Transfer,
    found: Sequence[Found],
    draft: Draft,
    target: str,
    *,
    keeps_owner: bool,
) -> None:
    """Copy everything to `target`, an absolute path in the draft's root.

    Raises: InvalidParameter in Docker's words, System.
    """
    owner = None if keeps_owner else (0, 0)
    if transfer.chown:
        owner = await in_thread(_owner, draft.root, transfer.chown)
    for each in found:
        fds = await in_thread(_opened, [draft.root, each.root])
        fds.append(await in_thread(_listed, each.sources))
        try:
            await workers.run(CopySources(os.fsencode(target), owner, mode(transfer)), fds)
        except JobFailed as error:
            kind = InvalidParameter if error.kind in ("refused", "damaged") else System
            said = archive_trouble(str(error)) if error.kind == "damaged" else str(error)
            raise kind(f"failed to copy files: {said}") from error
        finally:
            _close(fds)


async def fill(workers: Workers, found: Found, directory: Path) -> None:
    """Copy what is in the one directory that was found to a new one, which becomes the same.

    Raises: InvalidParameter: it is none. System.
    """
    (source,) = found.sources
    top = found.root / os.fsdecode(source.path)
    if not source.digest.startswith("dir:"):
        raise InvalidParameter(f"{os.fsdecode(source.name)} is not a directory")
    fds = await in_thread(_opened, [directory, found.root])
    fds.append(await in_thread(_listed, found.sources))
    try:
        await workers.run(CopySources(b"/", None), fds)
        facts = await in_thread(os.stat, top)
        await in_thread(os.fchown, fds[0], facts.st_uid, facts.st_gid)
        await in_thread(os.fchmod, fds[0], facts.st_mode & 0o7777)
    except JobFailed as error:
        raise System(f"failed to copy files: {error}") from error
    finally:
        _close(fds)


def _owner(root: Path, text: str) -> tuple[int, int]:
    """Who `user[:group]` is in the files of an image. Raises: InvalidParameter. Source: parseChownFlag."""
    user, colon, group = text.partition(":")
    if ":" in group:
        raise InvalidParameter(f"{_CHOWN} invalid chown string format: {text}")
    group = group if colon else user
    uid = user_number(user, read_text(root, "/etc/passwd"))
    gid = group_number(group, read_text(root, "/etc/group"))
    if uid is None:
        raise InvalidParameter(f"{_CHOWN} can't find uid for user {user}: no such user: {user}")
    if gid is None:
        raise InvalidParameter(f"{_CHOWN} can't find gid for group {group}: no such group: {group}")
    return uid, gid


def _opened(paths: Sequence[Path]) -> list[int]:
    fds: list[int] = []
    try:
        for path in paths:
            fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except BaseException:
        _close(fds)
        raise
    return fds


def _listed(sources: Sequence[Source]) -> int:
    fd = os.memfd_create("sources")
    with os.fdopen(os.dup(fd), "wb") as out:
        out.write(msgspec.msgpack.encode(list(sources)))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
