"""Files of BoltDB, made here byte by byte: leaves, branches, inline buckets, and what is damaged."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib import bolt

PAGE = 1024
LEAF, BRANCH, META = 2, 1, 4


def page(number: int, kind: int, body: bytes, count: int, overflow: int = 0) -> bytes:
    whole = struct.pack("<QHHI", number, kind, count, overflow) + body
    return whole.ljust(PAGE * (1 + overflow), b"\0")


def leaf(items: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """Elements and then their data; an element names its data by the distance from itself."""
    elements, data = b"", b""
    for number, (flags, key, value) in enumerate(items):
        distance = 16 * (len(items) - number) + len(data)
        elements += struct.pack("<IIII", flags, distance, len(key), len(value))
        data += key + value
    return elements + data


def meta(number: int, root: int, transaction: int) -> bytes:
    body = struct.pack("<IIIIQQQQQ", bolt.MAGIC, bolt.VERSION, PAGE, 0, root, 0, 2, 9, transaction)
    value = 0xCBF29CE484222325
    for byte in body:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return page(number, META, body + struct.pack("<Q", value), 0)


def bucket(root: int) -> bytes:
    return struct.pack("<QQ", root, 0)


INLINE = bucket(0) + struct.pack("<QHHI", 0, LEAF, 1, 0) + leaf([(0, b"k", b"small")])
LONG = b"x" * 1500
WHOLE = b"".join(
    [
        meta(0, root=3, transaction=7),
        meta(1, root=8, transaction=6),
        page(2, 0x10, b"", 0),
        page(3, LEAF, leaf([(1, b"inline", INLINE), (1, b"tree", bucket(4))]), 2),
        page(4, BRANCH, struct.pack("<IIQIIQ", 0, 0, 5, 0, 0, 6), 2),
        page(5, LEAF, leaf([(0, b"a", b"1"), (0, b"b", b"")]), 2),
        page(6, LEAF, leaf([(0, b"c", LONG)]), 1, overflow=1),
        page(8, LEAF, leaf([(0, b"old", b"")]), 1),
    ]
)


def read(data: bytes, name: bytes) -> dict[bytes, bytes | bolt.Bucket]:
    found = bolt.File(data).root.bucket(name)
    assert found is not None
    return dict(found.items())


def test_a_bucket_may_lie_inside_of_its_parent() -> None:
    assert read(WHOLE, b"inline") == {b"k": b"small"}


def test_branches_are_followed_and_long_values_go_over_several_pages() -> None:
    assert read(WHOLE, b"tree") == {b"a": b"1", b"b": b"", b"c": LONG}


def test_a_bucket_that_is_not_there_is_none() -> None:
    assert bolt.File(WHOLE).root.bucket(b"no") is None


def test_a_meta_page_that_is_not_whole_gives_way_to_the_one_before() -> None:
    torn = WHOLE[:40] + b"\xff" + WHOLE[41:]
    assert dict(bolt.File(torn).root.items()) == {b"old": b""}


def test_what_is_no_file_of_boltdb_is_refused() -> None:
    with pytest.raises(bolt.BoltError, match="no meta page"):
        bolt.File(b"SQLite format 3\0" * 300)


def test_pages_in_a_circle_end() -> None:
    circle = WHOLE[: 4 * PAGE] + page(4, BRANCH, struct.pack("<IIQ", 0, 0, 4), 1) + WHOLE[5 * PAGE :]
    with pytest.raises(bolt.BoltError, match="circle"):
        read(circle, b"tree")


@given(at=st.integers(3 * PAGE, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_damaged_file_gives_other_items_or_an_error_and_nothing_else(at: int, byte: int) -> None:
    damaged = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    try:
        for _, value in bolt.File(damaged).root.items():
            if isinstance(value, bolt.Bucket):
                dict(value.items())
    except bolt.BoltError:
        pass
