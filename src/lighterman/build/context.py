"""The context of a build: a directory of its own, unpacked while it arrives, with digests of all in it.

It lies in an ingest directory, so it goes with the build, or with the next start of the engine.
"""

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from msgspec import Struct

from lighterman.build.ignore import GENERAL, Ignored, ignore_files, read_patterns
from lighterman.content import Content, JobFailed, UnpackContext, Workers, fed, open_in_root, readable
from lighterman.errdefs import EngineError, InvalidParameter, System
from lighterman.lib.effects import in_thread, to_end

DEFAULT_DOCKERFILE = "Dockerfile"
DOCKERFILE_MAX_BYTES = 8 << 20


class Context(Struct, frozen=True):
    """A directory that COPY and ADD take from."""

    root: Path
    sums: Path | None = None
    """The digests that it came with; None: they are taken when they are asked for."""


@asynccontextmanager
async def received(
    content: Content, workers: Workers, archive: AsyncIterator[bytes]
) -> AsyncIterator[Context]:
    """The context that a client sends, while the block lasts. Raises: InvalidParameter, System."""
    ingest = await in_thread(content.new_ingest)
    try:
        directory = os.open(ingest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            await fed(workers, UnpackContext(), [directory], archive)
        except JobFailed as error:
            raise _bad_archive(error) from error
        finally:
            os.close(directory)
        yield Context(ingest / "root", ingest / "sums")
    finally:
        await to_end(in_thread(content.discard, ingest))


def _bad_archive(error: JobFailed) -> EngineError:
    text = str(error)
    if error.kind not in ("damaged", "refused"):
        return System(text)
    return InvalidParameter(text if text == "unexpected EOF" else archive_trouble(text))


def archive_trouble(text: str) -> str:
    """What Docker says of an archive that cannot be unpacked."""
    reader = "archive/tar: " if text.startswith("invalid tar header") else ""
    return f"Error processing tar file(exit status 1): {reader}{text}"


def take_dockerfile(context: Context, name: str) -> bytes:
    """The text of the context's Dockerfile, which is taken away if `.dockerignore` says so. Blocks.

    Raises: InvalidParameter in Docker's words.
    """
    root = os.open(context.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found, data = _read_dockerfile(root, name)
        if not data:
            raise InvalidParameter(f"the Dockerfile ({found}) cannot be empty")
        _hide(root, found)
        return data
    finally:
        os.close(root)


def _read_dockerfile(root: int, name: str) -> tuple[str, bytes]:
    clean = os.path.normpath(name.lstrip("/"))
    if clean == ".." or clean.startswith("../"):
        raise InvalidParameter(f"forbidden path outside the build context: {name} ()")
    names = [name, name.lower()] if name == DEFAULT_DOCKERFILE else [name]
    for candidate in names:
        if (data := _read(root, candidate)) is not None:
            return candidate, data
    raise InvalidParameter(f"Cannot locate specified Dockerfile: {names[-1] if len(names) == 1 else name}")


def _read(root: int, name: str) -> bytes | None:
    try:
        fd = open_in_root(root, os.fsencode(name), os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidParameter(f"open {name}: {os.strerror(error.errno or 0).lower()}") from error
    try:
        # opened in earnest only now: with a device that alone may do harm, and a client chose which
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidParameter(
                f"read {name}: is a directory" if _is_directory(fd) else f"{name} is no file"
            )
        with os.fdopen(readable(fd), "rb") as file:
            data = file.read(DOCKERFILE_MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > DOCKERFILE_MAX_BYTES:
        raise InvalidParameter(f"{name} is larger than {DOCKERFILE_MAX_BYTES} bytes")
    return data


def _is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def _hide(root: int, dockerfile: str) -> None:
    """Clients send both files although they are ignored, as the engine needs them: COPY may not see them."""
    patterns = next(
        (data for name in ignore_files(dockerfile) if (data := _read(root, name)) is not None), None
    )
    if patterns is None:
        return
    ignored = Ignored(read_patterns(patterns))
    for name in (GENERAL, dockerfile):
        clean = os.path.normpath(name.lstrip("/"))
        if ignored.takes(clean):
            above, _, leaf = clean.rpartition("/")
            with suppress(FileNotFoundError):
                parent = open_in_root(root, os.fsencode(above or "."), os.O_PATH | os.O_DIRECTORY)
                try:
                    os.unlink(leaf, dir_fd=parent)
                finally:
                    os.close(parent)


def leave_out_ignored(context: Context, dockerfile: str) -> None:
    """Take away what the ignore file of a context says that no client has applied it to. Blocks."""
    root = os.open(context.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        patterns = next(
            (data for name in ignore_files(dockerfile) if (data := _read(root, name)) is not None), None
        )
        if patterns is None:
            return
        ignored = Ignored(read_patterns(patterns))
        kept = {GENERAL, os.path.normpath(dockerfile.lstrip("/")), f"{dockerfile}.dockerignore"}
        for above, folders, files, fd in os.fwalk(".", topdown=False, dir_fd=root, follow_symlinks=False):
            prefix = "" if above == "." else above.removeprefix("./") + "/"
            for name in files:
                if prefix + name not in kept and ignored.takes(prefix + name):
                    os.unlink(name, dir_fd=fd)
            for name in folders:
                if ignored.takes(prefix + name):
                    with suppress(OSError):  # something in it was brought back
                        os.rmdir(name, dir_fd=fd)
    finally:
        os.close(root)
