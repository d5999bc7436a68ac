"""A tar, from its files and from what tar-split keeps of all else."""

import base64
import io
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import pytest

from lighterman.lib.tar_split import PIECE_BYTES, TarSplitError, assembled

Files = Mapping[bytes, bytes]


def segment(data: bytes) -> dict[str, Any]:
    return {"type": 2, "payload": base64.b64encode(data).decode()}


def lines(*entries: dict[str, Any]) -> list[bytes]:
    return [json.dumps(each).encode() for each in entries]


def put_together(entries: list[bytes], files: Files) -> bytes:
    def opened(name: bytes) -> BinaryIO:
        return io.BytesIO(files[name])

    return b"".join(assembled(entries, opened))


def test_segments_and_files_follow_one_another_as_they_are_listed() -> None:
    entries = lines(
        segment(b"head"), {"type": 1, "name": "a/ü", "size": 3, "payload": "AAAA"}, segment(b"pad")
    )
    assert put_together(entries, {"a/ü".encode(): b"abc"}) == b"headabcpad"


def test_a_name_that_is_no_text_is_kept_as_bytes() -> None:
    raw = base64.b64encode(b"n\xff").decode()
    entries = lines({"type": 1, "name_raw": raw, "size": 1, "payload": "AAAA"})
    assert put_together(entries, {b"n\xff": b"x"}) == b"x"


def test_what_has_no_content_in_the_tar_is_not_opened() -> None:
    assert put_together(lines({"type": 1, "name": "link", "payload": None}, segment(b"end")), {}) == b"end"


def test_a_large_file_comes_in_pieces() -> None:
    data = bytes(2 * PIECE_BYTES + 5)
    entries = lines({"type": 1, "name": "a", "size": len(data), "payload": "AAAA"})
    pieces = list(assembled(entries, lambda name: io.BytesIO(data)))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 2 * PIECE_BYTES


@pytest.mark.parametrize(
    ("entry", "content", "why"),
    [
        (b"{", b"", "cannot be read"),
        (b'{"type": 7}', b"", "type 7"),
        (b'{"type": 1, "name": "a", "size": 3}', b"ab", "a is 1 bytes shorter"),
        (b'{"type": 1, "name": "a", "size": 1}', b"ab", "a is longer"),
    ],
)
def test_what_does_not_fit_is_told(entry: bytes, content: bytes, why: str) -> None:
    with pytest.raises(TarSplitError, match=why):
        put_together([entry], {b"a": content})
