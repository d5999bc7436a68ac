"""Archives that were damaged on their way, or made to do harm: read to the end or refused."""

import io
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from lighterman.lib import tar


def made() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (("a", b"x" * 600), ("d/" + "n" * 150, b""), ("ü" * 60, b"y" * 10)):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), {"SCHILY.xattr.user.k": "v", "mtime": "1.5"}
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 120
        archive.addfile(link)
    return out.getvalue()


WHOLE = made()


def entries(data: bytes, cut: int) -> list[tuple[bytes, int]]:
    """Names and bytes of all entries, read in pieces of `cut` bytes."""
    reader = tar.TarReader(iter([data[at : at + cut] for at in range(0, len(data), cut)]))
    found = []
    while (entry := reader.next()) is not None:
        found.append((entry.name, sum(map(len, reader.data()))))
    return found


@given(st.integers(1, 2000))
def test_an_archive_is_the_same_however_it_is_cut(cut: int) -> None:
    assert entries(WHOLE, cut) == entries(WHOLE, len(WHOLE))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_archive_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    _read_or_refused(bytes(data))


@settings(max_examples=300)
@given(
    st.sampled_from([b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"K", b"S", b"\0"]),
    st.binary(max_size=120),
    st.binary(min_size=12, max_size=12),
    st.binary(max_size=1024),
)
def test_a_forged_header_is_read_or_refused(kind: bytes, name: bytes, size: bytes, data: bytes) -> None:
    block = bytearray(name[:100].ljust(512, b"\0"))
    block[124:136], block[156:157], block[257:265] = size, kind, b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    _read_or_refused(bytes(block) + data + tar.END)


def _read_or_refused(data: bytes) -> None:
    try:
        found = entries(data, 700)
    except tar.TarError:
        return
    assert sum(size for _, size in found) <= len(data)
