"""Streams as generators of chunks: hashing, spooling, decompressing, compressing, running ahead in a thread.

Each takes an iterator of chunks and gives one, so a pipeline is written as it flows:
`decompressed(Tee(read(fd), hasher, blob))`. No chunk is longer than CHUNK, whatever the ratio of
compression. Blocking; runs in worker processes.
"""

import bz2
import lzma
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import zstandard
from isal import igzip_lib, isal_zlib

CHUNK = 1 << 20
READ = 1 << 18

GZIP, ZSTD, BZIP2, XZ, PLAIN = "gzip", "zstd", "bzip2", "xz", ""

_MAGIC = ((b"\x1f\x8b\x08", GZIP), (b"\x28\xb5\x2f\xfd", ZSTD), (b"BZh", BZIP2), (b"\xfd7zXZ\0", XZ))
_ZSTD_WINDOW_MAX = 1 << 27
_AHEAD = 4
_ISAL_ERROR: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stubs say: an instance


class Broken(ValueError):
    """A compressed stream that ends early or is none."""


class _Sink(Protocol):
    def update(self, chunk: bytes, /) -> object: ...


class _Decompressor(Protocol):
    """What the bzip2, xz and isal modules agree on."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def read(fd: int) -> Iterator[bytes]:
    """What is left of an open file or pipe."""
    while chunk := os.read(fd, READ):
        yield chunk


def tee(chunks: Iterator[bytes], *sinks: _Sink) -> Iterator[bytes]:
    """The same chunks, each shown to the sinks (hashes, files) first."""
    for chunk in chunks:
        for sink in sinks:
            sink.update(chunk)
        yield chunk


class FileSink:
    """A file that is written as a sink; `size` bytes so far."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = 0

    def update(self, chunk: bytes, /) -> None:
        """Append."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._fd, view) :]
        self.size += len(chunk)


class GzipSink:
    """Compresses what it is shown into other sinks.

    Level 1 of isal: 437 MB/s on a core where zlib's default makes 28, and 15 % larger.
    """

    def __init__(self, *sinks: _Sink) -> None:
        self._sinks = sinks
        self._compressor = isal_zlib.compressobj(level=1, wbits=31)

    def update(self, chunk: bytes, /) -> None:
        """Compress."""
        self._pass_on(self._compressor.compress(chunk))

    def finish(self) -> None:
        """Write the end of the stream."""
        self._pass_on(self._compressor.flush())

    def _pass_on(self, data: bytes) -> None:
        if data:
            for sink in self._sinks:
                sink.update(data)


def peeked(chunks: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """The compression (a constant of this module) by its first bytes, and all the chunks."""
    head = b""
    while len(head) < 6 and (chunk := next(chunks, None)) is not None:
        head += chunk
    kind = next((kind for magic, kind in _MAGIC if head.startswith(magic)), PLAIN)

    def whole() -> Iterator[bytes]:
        yield head
        yield from chunks

    return kind, whole()


def decompressed(kind: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of `chunks`. Raises: Broken."""
    match kind:
        case "gzip":
            return _members(lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), chunks)
        case "bzip2":
            return _members(bz2.BZ2Decompressor, chunks)
        case "xz":
            return _members(lambda: lzma.LZMADecompressor(memlimit=1 << 28), chunks)
        case "zstd":
            return _zstd(chunks)
    return chunks


def _members(new: Callable[[], Any], chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Member after member: each of these modules stops at the end of the first."""
    member: _Decompressor | None = None
    for chunk in chunks:
        data = chunk
        while True:
            if member is None:
                # tape-like padding behind the last member is none of them
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = new()
            try:
                out = member.decompress(data, CHUNK)
            except (_ISAL_ERROR, OSError, lzma.LZMAError, EOFError) as error:
                raise Broken(f"the compressed stream is damaged: {error}") from error
            data = b""
            if out:
                yield out
            if member.eof:
                data, member = member.unused_data, None
            elif member.needs_input:
                break
    if member is not None:
        raise Broken("unexpected EOF")


class _Reader:
    """A file to zstandard's eyes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int = -1) -> bytes:
        """One chunk of whatever size: it is the buffer of the decompressor that bounds."""
        return next(self._chunks, b"")


def _zstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    source: Any = _Reader(chunks)
    try:
        with decompressor.stream_reader(source, read_across_frames=True) as reader:
            while out := reader.read(CHUNK):
                yield out
    except zstandard.ZstdError as error:
        raise Broken(f"the compressed stream is damaged: {error}") from error


def ahead(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, made in a thread of their own, a few of them before they are asked for.

    Worth it for few large files: then hashing and gunzip, which leave the interpreter's lock, are what takes
    the time (measured: 2.2 times faster; no gain for many small files).
    """
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)

    def make() -> None:
        try:
            for chunk in chunks:
                made.put(chunk)
            made.put(None)
        except BaseException as error:  # raised again where it is waited for
            made.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (item := made.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
