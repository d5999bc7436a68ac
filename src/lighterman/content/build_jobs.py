"""The jobs of builds, as they run in a worker process: contexts, what is copied of them, and new layers."""

import os
from collections.abc import Sequence

import msgspec

from lighterman.content.context import unpack
from lighterman.content.copy_sources import Copier
from lighterman.content.find_sources import Missing, Outside, found
from lighterman.content.jobs import (
    ContextUnpacked,
    CopySources,
    Failed,
    FindSources,
    KeepLayer,
    Layer,
    Source,
    Written,
)
from lighterman.content.keep_layer import keep
from lighterman.content.merge_layers import merge
from lighterman.content.streams import FileSink, decompressed, peeked, read

_encode = msgspec.msgpack.Encoder().encode


def unpack_context(fds: Sequence[int]) -> ContextUnpacked:
    """Do it."""
    directory, archive = fds
    os.mkdir("root", 0o755, dir_fd=directory)
    root = os.open("root", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
    kind, chunks = peeked(read(archive))
    sums, size_bytes = unpack(root, decompressed(kind, chunks))
    table = os.open("sums", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    FileSink(table).update(_encode(sums))
    return ContextUnpacked(len(sums), size_bytes)


def find_sources(job: FindSources, fds: Sequence[int]) -> Written | Failed:
    """Do it."""
    root, table, out = fds
    sums = msgspec.msgpack.decode(b"".join(read(table)), type=dict[bytes, str]) if job.has_sums else None
    try:
        sources = found(root, job.patterns, sums, unpack=job.unpack)
    except Missing as error:
        return Failed("missing", str(error))
    except Outside as error:
        return Failed("outside", str(error))
    FileSink(out).update(_encode(sources))
    return Written()


def copy_sources(job: CopySources, fds: Sequence[int]) -> Written:
    """Do it."""
    target, root, listed = fds
    sources = msgspec.msgpack.decode(b"".join(read(listed)), type=list[Source])
    os.umask(0)
    copier = Copier(root, target, job.owner, job.mode)
    for source in sources:
        copier.copy(source, job.target)
    return Written()


def keep_layer(job: KeepLayer, fds: Sequence[int]) -> Layer:
    """Do it."""
    directory, upper = fds
    blob = os.open("blob", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    return keep(upper, blob, job.stubs)


def merge_layers(fds: Sequence[int]) -> Written:
    """Do it."""
    os.umask(0)
    target, *layers = fds
    for layer in layers:
        merge(layer, target)
    return Written()
