"""Reading a file of BoltDB, the key-value store that dockerd keeps some of its books in.

Three words. A *page* is a piece of the file, found by its number; a *bucket* is a tree of pages whose leaves
have keys and values, other buckets among them; the two *meta* pages at the start name the root of all, and
the one of the later transaction that is whole counts. Nothing is written, and no free list is read.

Source: bbolt 1.3, bucket.go, page.go, db.go.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from msgspec import Struct

MAGIC, VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF, _META = 0x01, 0x02, 0x04
_BUCKET = 0x01
"""The flag of a leaf's element whose value is a bucket."""
_PAGE = struct.Struct("<QHHI")
"""Number, kind, count of elements, further pages that belong to it."""
_META_BODY = struct.Struct("<IIIIQQQQQ")
"""Magic, version, page size, flags, the root bucket (page, sequence), free list, pages, transaction."""
_CHECKSUM = struct.Struct("<Q")
_BRANCH_ELEMENT, _LEAF_ELEMENT = struct.Struct("<IIQ"), struct.Struct("<IIII")
_BUCKET_HEADER = struct.Struct("<QQ")
_SMALLEST_PAGE, _DEPTH_MAX = 512, 64


class BoltError(ValueError):
    """The file is none of BoltDB's, or it is damaged."""


class Bucket(Struct, frozen=True):
    """A bucket: the page of its root, or 0 and the page itself where it lies inside of its parent."""

    file: File
    root: int
    inline: bytes = b""

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """Keys and values in the order of the keys; a value may be a bucket. Raises: BoltError."""
        try:
            yield from self._page(self.inline if self.root == 0 else self.file.page(self.root), _DEPTH_MAX)
        except struct.error as error:
            raise BoltError(f"a page ends too early: {error}") from error

    def bucket(self, name: bytes) -> Bucket | None:
        """The bucket of this name in this one. Raises: BoltError."""
        found = next((value for key, value in self.items() if key == name), None)
        return found if isinstance(found, Bucket) else None

    def _page(self, page: bytes, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        if depth == 0:
            raise BoltError("the pages go round in a circle")
        _, kind, count, _ = _PAGE.unpack_from(page)
        if kind not in (_BRANCH, _LEAF):
            raise BoltError(f"a page of kind {kind:#x} where a branch or a leaf should be")
        for number in range(count):
            if kind == _BRANCH:
                at = _PAGE.size + number * _BRANCH_ELEMENT.size
                yield from self._page(self.file.page(_BRANCH_ELEMENT.unpack_from(page, at)[2]), depth - 1)
                continue
            at = _PAGE.size + number * _LEAF_ELEMENT.size
            flags, offset, key_bytes, value_bytes = _LEAF_ELEMENT.unpack_from(page, at)
            start = at + offset
            value = page[start + key_bytes : start + key_bytes + value_bytes]
            if len(value) != value_bytes:
                raise BoltError("an element ends behind its page")
            yield page[start : start + key_bytes], self._bucket(value) if flags & _BUCKET else value

    def _bucket(self, value: bytes) -> Bucket:
        root, _ = _BUCKET_HEADER.unpack_from(value)
        return Bucket(self.file, root, value[_BUCKET_HEADER.size :])


class File:
    """A whole file in memory; books of dockerd are small."""

    def __init__(self, data: bytes) -> None:
        """Raises: BoltError."""
        self._data = data
        found = [meta for size in _page_sizes(data) if (meta := _meta(data, size)) is not None]
        if not found:
            raise BoltError("it has no meta page that is whole")
        _, self._page_bytes, root = max(found)
        self.root = Bucket(self, root)
        """The bucket that all others lie in."""

    def page(self, number: int) -> bytes:
        """A page with those that belong to it. Raises: BoltError."""
        start = number * self._page_bytes
        if start + _PAGE.size > len(self._data):
            raise BoltError(f"page {number} is behind the end")
        overflow = _PAGE.unpack_from(self._data, start)[3]
        return self._data[start : start + (1 + overflow) * self._page_bytes]


def _page_sizes(data: bytes) -> list[int]:
    """Where meta pages may begin: a page is as large as those of the host that made the file."""
    return [0, *(size for power in range(9, 17) if (size := 1 << power) < len(data))]


def _meta(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Transaction, page size and root of a meta page; None where there is no whole one."""
    body = data[at + _PAGE.size : at + _PAGE.size + _META_BODY.size]
    checksum = data[at + _PAGE.size + _META_BODY.size :][: _CHECKSUM.size]
    if len(body) < _META_BODY.size or len(checksum) < _CHECKSUM.size:
        return None
    magic, version, page_bytes, _, root, _, _, _, transaction = _META_BODY.unpack(body)
    whole = magic == MAGIC and version == VERSION and _CHECKSUM.unpack(checksum)[0] == _fnv1a(body)
    if not whole or _PAGE.unpack_from(data, at)[1] != _META or page_bytes < _SMALLEST_PAGE:
        return None
    return transaction, page_bytes, root


def _fnv1a(data: bytes) -> int:
    """64 bits. Source: draft-eastlake-fnv."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
