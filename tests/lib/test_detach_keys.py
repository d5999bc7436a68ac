import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.errdefs import InvalidParameter
from lighterman.lib.detach_keys import DEFAULT, DetachKeys, parse


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("ctrl-p,ctrl-q", DEFAULT),
        ("a", b"a"),
        ("ctrl-@,ctrl-[,ctrl-_,DEL", b"\x00\x1b\x1f\x7f"),
        ("Z,ctrl-z", b"Z\x1a"),
    ],
)
def test_keys_are_named_as_docker_names_them(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["foo", "", "ctrl-p,", "ctrl-", "ctrl-P", "ctrl-pp", "é", "del"])
def test_unknown_keys_are_refused_in_docker_s_words(text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse(text)
    assert str(refused.value) == f"Invalid detach keys ({text}) provided"


@pytest.mark.parametrize("cut", range(8))
def test_detach_keys_are_found_however_the_stream_is_cut(cut: int) -> None:
    stdin, keys = b"ls\x10\x10\x11rm", DetachKeys(b"\x10\x11")
    first, gone = keys.feed(stdin[:cut])
    rest, gone = (b"", True) if gone else keys.feed(stdin[cut:])
    assert (first + rest, gone) == (b"ls\x10", True)


@given(st.lists(st.binary(max_size=5), max_size=8), st.binary(min_size=1, max_size=3))
def test_all_before_the_first_sequence_passes_and_nothing_behind_it(pieces: list[bytes], keys: bytes) -> None:
    whole, detach, passed, found = b"".join(pieces), DetachKeys(keys), b"", False
    for piece in pieces:
        if not found:
            more, found = detach.feed(piece)
            passed += more
    assert found == (keys in whole)
    assert passed + (b"" if found else detach.flush()) == whole.partition(keys)[0]


def test_without_keys_everything_passes_at_once() -> None:
    assert DetachKeys(b"").feed(DEFAULT) == (DEFAULT, False)
