"""Tar headers: what is written reads back, however it is cut; what cannot be true is refused."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib import tar
from lighterman.lib.tar import Entry, TarError, TarReader


def archive(*members: tuple[Entry, bytes]) -> bytes:
    made = b""
    for entry, data in members:
        entry.size = len(data)
        made += tar.header(entry) + data + bytes(-len(data) % tar.BLOCK)
    return made + tar.END


def read(data: bytes, *, cut: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = TarReader(iter([data[at : at + cut] for at in range(0, len(data), cut)]))
    found: list[tuple[Entry, bytes]] = []
    while (entry := reader.next()) is not None:
        found.append((entry, b"".join(map(bytes, reader.data()))))
    return found


def pax(*records: bytes) -> bytes:
    """An entry `f` with these raw PAX records before it."""
    body = b"".join(records)
    head = tar.header(Entry(b"pax", b"x", size=len(body)))
    return head + body + bytes(-len(body) % tar.BLOCK) + tar.header(Entry(b"f")) + tar.END


def record(key: bytes, value: bytes) -> bytes:
    return tar._pax_record(key, value)


names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and name[-1:] != b"/")
entries = st.builds(
    Entry,
    name=names,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 2),
    gid=st.integers(0, (1 << 32) - 2),
    mtime_ns=st.integers(-(10**18), 10**18),
    xattrs=st.dictionaries(
        st.sampled_from([b"user.a", b"security.capability"]), st.binary(min_size=1, max_size=40)
    ),
)


@given(entries, st.binary(max_size=1500), st.integers(1, 700))
def test_what_is_written_reads_back_however_the_stream_is_cut(entry: Entry, data: bytes, cut: int) -> None:
    assert read(archive((entry, data)), cut=cut) == [(entry, data)]


@given(entries)
def test_others_read_what_is_written(entry: Entry) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive((entry, b"data")))) as opened:
        (member,) = opened.getmembers()
    assert member.uid == entry.uid
    assert member.mode == entry.mode
    assert member.name.encode("utf-8", "surrogateescape").strip(b"/") == entry.name.strip(b"/")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_others_are_read(form: int) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as writer:
        link = tarfile.TarInfo("n" * 300)
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 300
        writer.addfile(link)
    ((entry, _),) = read(made.getvalue())
    assert (entry.name, entry.link, entry.kind) == (b"n" * 300, b"t" * 300, tar.SYMBOLIC_LINK)


def test_a_global_record_holds_for_all_that_follow() -> None:
    body = record(b"uid", b"7")
    head = tar.header(Entry(b"g", b"g", size=len(body))) + body + bytes(-len(body) % tar.BLOCK)
    found = read(head + tar.header(Entry(b"a")) + tar.header(Entry(b"b", uid=1)) + tar.END)
    assert [entry.uid for entry, _ in found] == [7, 7]


def test_the_rest_of_the_stream_is_read_for_those_who_hash_it() -> None:
    chunks = iter([archive((Entry(b"a"), b"x")), b"padding", b"more"])
    reader = TarReader(chunks)
    while reader.next() is not None:
        pass
    assert list(chunks) == []


BROKEN = {
    "no archive": b"#!/bin/sh\n" * 100,
    "a wrong checksum": archive((Entry(b"a"), b""))[:148] + b"000000\0 " + bytes(1388),
    "a truncated header": archive((Entry(b"a"), b"x"))[:300],
    "truncated data": archive((Entry(b"a"), b"x" * 600))[:1100],
    "a record without end": pax(b"12 path=abcdef"),
    "a record longer than its block": pax(b"999 path=a\n"),
    "a record without a length": pax(b"path=a\n"),
    "a record with a length of zero": pax(b"0 path=a\n"),
    "a size that is no number": pax(record(b"size", b"-1")),
    "a time that is no number": pax(record(b"mtime", b"1e9")),
    "an owner that chown would leave alone": pax(record(b"uid", b"4294967295")),
    "a sparse file": pax(record(b"GNU.sparse.major", b"1")),
    "a record of megabytes": pax(record(b"path", b"a" * tar.RECORD_MAX)),
    "megabytes in many records": pax(*(record(b"SCHILY.xattr.user.%d" % n, b"a" * 60000) for n in range(20))),
    "an unknown type": tar.header(Entry(b"a", b"Z")) + tar.END,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_cannot_be_believed_is_refused(data: bytes) -> None:
    with pytest.raises(TarError):
        read(data)


def test_an_archive_may_end_with_the_last_byte_of_a_file() -> None:
    entry = Entry(b"f", size=3)
    data = tar.header(entry) + b"abc"
    assert read(data) == [(entry, b"abc")]
    for broken in (data[:-1], data + b"\0"):
        with pytest.raises(TarError):
            read(broken)


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    try:
        read(data, cut=700)
    except TarError:
        return


@pytest.mark.parametrize(
    ("end", "said"), [(1024, ""), (512, ""), (0, ""), (1023, "unexpected EOF"), (1, "unexpected EOF")]
)
def test_the_end_is_two_empty_blocks_or_less_but_no_piece_of_one(end: int, said: str) -> None:
    """As Go reads it. A short block is an archive that was cut off."""
    data = tar.header(Entry(b"f")) + bytes(end)
    if said:
        with pytest.raises(TarError, match=said):
            read(data)
    else:
        assert [entry.name for entry, _ in read(data)] == [b"f"]


def test_nothing_comes_behind_an_empty_block_but_another() -> None:
    with pytest.raises(TarError, match="invalid tar header"):
        read(bytes(tar.BLOCK) + archive((Entry(b"f"), b"")))
