"""Putting a tar together again from its files and from what tar-split has kept of all else.

dockerd unpacks a layer and forgets its tar; headers and padding go to a list of *entries*, one line of JSON
each. A *segment* holds bytes of the tar as they were; a *file* stands for the content of a file of the layer,
which is read from where it was unpacked. Only so has the tar the same bytes, and the layer its digest, again.

Source: vbatts/tar-split 0.11, tar/storage/entry.go and tar/asm/assemble.go.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

PIECE_BYTES = 1 << 20
_FILE, _SEGMENT = 1, 2


class TarSplitError(ValueError):
    """The list is damaged, or a file is not as long as it was."""


class Entry(Struct):
    """One line. A file's payload is a checksum, which the layer's digest makes needless."""

    type: int
    name: str = ""
    name_raw: bytes = b""
    """The name if it is no UTF-8."""
    size: int = 0
    payload: bytes | None = None


def assembled(lines: Iterable[bytes], open_file: Callable[[bytes], BinaryIO]) -> Iterator[bytes]:
    """The tar, in pieces of about PIECE_BYTES. `open_file` opens a file of the layer by its name in the tar.

    Raises: TarSplitError, and what `open_file` raises.
    """
    piece = bytearray()
    for part in _parts(lines, open_file):
        piece += part
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _parts(lines: Iterable[bytes], open_file: Callable[[bytes], BinaryIO]) -> Iterator[bytes]:
    decode = msgspec.json.Decoder(Entry).decode
    for line in lines:
        try:
            entry = decode(line)
        except msgspec.DecodeError as error:
            raise TarSplitError(f"an entry cannot be read: {error}") from error
        if entry.type == _SEGMENT:
            yield entry.payload or b""
        elif entry.type != _FILE:
            raise TarSplitError(f"an entry of type {entry.type}")
        elif entry.size:  # hard links, directories and the like have no content in the tar
            yield from _content(entry, open_file)


def _content(entry: Entry, open_file: Callable[[bytes], BinaryIO]) -> Iterator[bytes]:
    name, left = entry.name_raw or entry.name.encode(), entry.size
    with open_file(name) as file:
        while left:
            part = file.read(min(left, PIECE_BYTES))
            if not part:
                raise TarSplitError(f"{name.decode(errors='replace')} is {left} bytes shorter than it was")
            left -= len(part)
            yield part
        if file.read(1):
            raise TarSplitError(f"{name.decode(errors='replace')} is longer than it was")
