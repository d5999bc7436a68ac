"""Decompression: every codec, every cut, members after members, and streams that end early."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lighterman.content.streams import CHUNK, Broken, GzipSink, ahead, decompressed, peeked

TEXT = b"a lighterman carries goods on the river " * 500
MADE = {
    "gzip": gzip.compress(TEXT),
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(TEXT),
    "": TEXT,
}


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return iter([data[at : at + size] for at in range(0, len(data), size)])


def content(data: bytes, size: int = 4096) -> bytes:
    return b"".join(decompressed(*peeked(cut(data, size))))


@pytest.mark.parametrize("kind", MADE)
def test_the_codec_is_known_by_its_first_bytes(kind: str) -> None:
    assert peeked(cut(MADE[kind], 3))[0] == kind
    assert content(MADE[kind], 3) == TEXT


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_members_one_after_the_other_are_one_stream(kind: str) -> None:
    assert content(MADE[kind] * 3, 100) == TEXT * 3


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5), st.integers(1, 40))
def test_gzip_members_are_found_however_the_stream_is_cut(parts: list[bytes], size: int) -> None:
    made = b"".join(map(gzip.compress, parts))
    assert b"".join(decompressed("gzip", cut(made, size))) == b"".join(parts)


def test_zeros_behind_the_last_member_are_padding() -> None:
    assert content(MADE["gzip"] + bytes(1000)) == TEXT


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_a_stream_that_ends_early_is_broken(kind: str) -> None:
    with pytest.raises(Broken):
        content(MADE[kind][:-5])


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_a_damaged_stream_is_broken(kind: str) -> None:
    middle = len(MADE[kind]) // 2
    with pytest.raises(Broken):
        content(MADE[kind][:middle] + b"\xff\x00\xff\x00" + MADE[kind][middle + 4 :])


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_comes_in_chunks_of_bounded_size(kind: str) -> None:
    zeros = bytes(20 << 20)
    compress: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lzma.compress,
        "zstd": zstandard.compress,
    }
    sizes = [len(chunk) for chunk in decompressed(kind, iter([compress[kind](zeros)]))]
    assert sum(sizes) == len(zeros)
    assert max(sizes) <= CHUNK


def test_what_the_sink_makes_is_gzip() -> None:
    made = bytearray()

    class Sink:
        def update(self, chunk: bytes, /) -> None:
            made.extend(chunk)

    sink = GzipSink(Sink())
    for chunk in cut(TEXT, 777):
        sink.update(chunk)
    sink.finish()
    assert gzip.decompress(made) == TEXT


def test_running_ahead_changes_nothing_but_the_thread() -> None:
    assert b"".join(ahead(cut(TEXT, 100))) == TEXT


def test_what_fails_ahead_fails_for_the_one_who_waits() -> None:
    with pytest.raises(Broken):
        b"".join(ahead(decompressed("gzip", iter([MADE["gzip"][:-5]]))))
