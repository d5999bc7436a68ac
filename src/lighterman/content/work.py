"""The jobs themselves, as they run in a worker process: plain blocking code on open directories."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from lighterman.content.build_jobs import copy_sources, find_sources, keep_layer, merge_layers, unpack_context
from lighterman.content.container_jobs import list_changes, pack_path, pack_tree, put_archive, stat_path
from lighterman.content.download import DownloadFailed, download
from lighterman.content.jobs import (
    ARRIVED,
    DOWNLOADED,
    DOWNLOADING,
    EXTRACTING,
    NOT_THE_CONFIGS,
    NOT_THE_DIGESTS,
    VERIFYING,
    Answer,
    AnyJob,
    CopySources,
    Counted,
    CountUsage,
    Download,
    EmptyDirectory,
    Failed,
    FindSources,
    KeepLayer,
    Layer,
    ListChanges,
    MergeLayers,
    PackLayer,
    PackPath,
    PackTree,
    PutArchive,
    Removed,
    SaveArchive,
    SpoolArchive,
    Spooled,
    StatPath,
    Step,
    UnpackContext,
    UnpackLayer,
    Upload,
    retrying,
    spooled_name,
)
from lighterman.content.pack_layer import pack_layer
from lighterman.content.save import save
from lighterman.content.streams import (
    GZIP,
    PLAIN,
    ZSTD,
    Broken,
    FileSink,
    GzipSink,
    ahead,
    decompressed,
    peeked,
    read,
    tee,
)
from lighterman.content.tree import Refused
from lighterman.content.unpack import parts_of, unpack
from lighterman.content.upload import upload
from lighterman.lib import tar

REPORT_EVERY_S = 0.1
AHEAD_FROM_BYTES = 32 << 20
"""Compressed size from which a thread of its own hashes and gunzips."""
RATIO_MAX = 200
FREE_OF_RATIO = 16 << 30
"""An archive may unpack to so many bytes, and to RATIO_MAX times its size beyond that."""
UNKNOWN_SIZE_MAX = 1 << 40
ARCHIVE_FILES_MAX = 20_000

Report = Callable[[Step], None]


class WrongContent(ValueError):
    """The bytes are not those that were announced."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


def perform(job: AnyJob, fds: Sequence[int], report: Report) -> Answer | Failed:
    """The answer of a job, or why there is none."""
    try:
        match job:
            case UnpackLayer():
                return _unpack_layer(job, fds, report)
            case SpoolArchive():
                return _spool(fds, report)
            case CountUsage():
                return _count(fds[0])
            case EmptyDirectory():
                return _empty(fds[0])
            case StatPath():
                return stat_path(job, fds)
            case PackPath():
                return pack_path(job, fds)
            case PackTree():
                return pack_tree(job, fds)
            case PutArchive():
                return put_archive(job, fds)
            case ListChanges():
                return list_changes(fds)
            case SaveArchive():
                return save(fds)
            case PackLayer():
                return pack_layer(fds)
            case Upload():
                return upload(job, fds, report)
            case KeepLayer():
                return keep_layer(job, fds)
            case UnpackContext():
                return unpack_context(fds)
            case FindSources():
                return find_sources(job, fds)
            case CopySources():
                return copy_sources(job, fds)
            case MergeLayers():
                return merge_layers(fds)
    except Refused as error:
        return Failed("refused", str(error))
    except (tar.TarError, Broken) as error:
        return Failed("damaged", str(error))
    except WrongContent as error:
        return Failed("mismatch", str(error))
    except DownloadFailed as error:
        return Failed("registry", str(error), error.status)
    except OSError as error:
        where = f" {os.fsdecode(error.filename)}" if error.filename else ""
        return Failed("system", f"{os.strerror(error.errno or 0).lower()}{where}")


def _unpack_layer(job: UnpackLayer, fds: Sequence[int], report: Report) -> Layer:
    directory = fds[0]
    arriving = _downloaded(job.source, job.size, report) if isinstance(job.source, Download) else read(fds[1])
    received, content, made = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    # the first bytes before the first file: a job that gets none may be tried again here
    kind, chunks = peeked(_reported(arriving, job, report))
    os.mkdir("diff", 0o755, dir_fd=directory)
    root = os.open("diff", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    blob = FileSink(os.open("blob", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory))
    length = _Length()
    kept = kind in (GZIP, ZSTD)
    gzip = None if kept else GzipSink(made, blob)
    if kind == PLAIN:
        received = content  # the same bytes: they are hashed once
    elif kept:
        chunks = tee(chunks, received, blob)
    else:
        chunks = tee(chunks, received)
    # what takes the time leaves the interpreter's lock: for large layers each of it has a thread of its own
    apart = ahead if job.size < 0 or job.size >= AHEAD_FROM_BYTES else iter
    flow = tee(apart(decompressed(kind, apart(chunks))), content, length)
    if gzip is not None:
        flow = tee(apart(flow), gzip)
    flow = apart(flow)
    bytes_max = UNKNOWN_SIZE_MAX if job.size < 0 else FREE_OF_RATIO + RATIO_MAX * job.size
    unpacked = unpack(root, tar.TarReader(flow), bytes_max=bytes_max)
    if gzip is not None:
        gzip.finish()
    digest = _checked(NOT_THE_DIGESTS, job.digest, received)
    diff_id = _checked(NOT_THE_CONFIGS, job.diff_id, content)
    report(Step(EXTRACTING, blob.size, blob.size))
    return Layer(
        digest=digest if kept else f"sha256:{made.hexdigest()}",
        blob_bytes=blob.size,
        media_type=f"application/vnd.oci.image.layer.v1.tar+{kind if kept else GZIP}",
        diff_id=diff_id,
        size_bytes=unpacked.size_bytes,
        tar_bytes=length.total,
    )


class _Length:
    """Counts what it is shown."""

    total = 0

    def update(self, chunk: bytes, /) -> None:
        self.total += len(chunk)


def _checked(complaint: str, expected: str, found: _Hash) -> str:
    digest = f"sha256:{found.hexdigest()}"
    if expected and digest != expected:
        raise WrongContent(f"{complaint} {expected}")
    return digest


def _downloaded(source: Download, size: int, report: Report) -> Iterator[bytes]:
    return download(source, size, lambda left_s: report(Step(retrying(left_s), 0, 0)))


def _reported(chunks: Iterator[bytes], job: UnpackLayer, report: Report) -> Iterator[bytes]:
    """The same chunks; now and then the progress is told."""
    downloads = isinstance(job.source, Download)
    action = DOWNLOADING if downloads else EXTRACTING
    total, current, told = max(job.size, 0), 0, 0.0
    for chunk in chunks:
        current += len(chunk)
        now = time.monotonic()
        if now - told >= REPORT_EVERY_S:
            told = now
            report(Step(action, current, total))
        yield chunk
    if downloads:
        report(Step(VERIFYING, 0, 0))
        report(Step(DOWNLOADED, 0, 0))


def _spool(fds: Sequence[int], report: Report) -> Spooled:
    """Only regular files, and links among them: that is all that image archives are made of.

    What looks like a layer is told at once, so that somebody can begin with it.
    """
    directory, archive = fds[0], fds[1]
    kind, chunks = peeked(read(archive))
    reader = tar.TarReader(decompressed(kind, chunks))
    files: set[str] = set()
    links: dict[str, str] = {}
    while (entry := reader.next()) is not None:
        name = b"/".join(parts_of(entry.name)).decode(errors="surrogateescape")
        if len(files) + len(links) > ARCHIVE_FILES_MAX:
            raise Refused(f"the archive holds more than {ARCHIVE_FILES_MAX} files")
        if entry.kind == tar.FILE:
            links.pop(name, None)
            files.add(name)
            if _write(directory, name, reader):
                report(Step(ARRIVED, entry.size, entry.size, name))
        elif entry.kind in (tar.SYMBOLIC_LINK, tar.HARD_LINK):
            links[name] = _target(name, entry)
        elif entry.kind != tar.DIRECTORY:
            raise Refused(f"an image archive has no place for {name!r}")
    for name, target in links.items():
        if target in files and name not in files:
            os.link(spooled_name(target), spooled_name(name), src_dir_fd=directory, dst_dir_fd=directory)
            files.add(name)
    return Spooled(len(files))


def _write(directory: int, name: str, reader: tar.TarReader) -> bool:
    """Write a member to its file; whether it looks like a layer."""
    # O_TRUNC would change a file that somebody reads: of two members with one name the later counts
    with suppress(FileNotFoundError):
        os.unlink(spooled_name(name), dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    fd = os.open(spooled_name(name), flags, 0o600, dir_fd=directory)
    head = b""
    try:
        for piece in reader.data():
            if len(head) < tar.BLOCK:
                head += piece[: tar.BLOCK]
            while piece:
                piece = piece[os.write(fd, piece) :]
    finally:
        os.close(fd)
    return head[257:262] == b"ustar" or peeked(iter([head]))[0] in (GZIP, ZSTD)


def _target(name: str, entry: tar.Entry) -> str:
    """What a link means, inside the archive: links of `docker save` go to a neighbouring directory."""
    link = os.fsdecode(entry.link)
    if entry.kind == tar.HARD_LINK:
        return os.path.normpath(link).lstrip("/")
    return os.path.normpath(os.path.join(os.path.dirname(name), link))


def _count(directory: int) -> Counted:
    size, seen, device = 0, set(), os.fstat(directory).st_dev
    for _, _, files, fd in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
        here = os.fstat(fd)
        seen.add(here.st_ino)
        for name in files:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if found.st_ino in seen or found.st_dev != device:
                continue
            seen.add(found.st_ino)
            size += found.st_size
    return Counted(size, len(seen))


def _empty(directory: int) -> Removed:
    os.nice(5)  # nobody waits for it, and somebody may wait for a pull
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.name, dir_fd=directory)
        else:
            os.unlink(entry.name, dir_fd=directory)
    return Removed()
