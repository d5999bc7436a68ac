"""Words as a Dockerfile's instructions have them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.shell_words import BadWord, expanded, split, words

V = {"A": "1", "W": "x y", "E": ""}

ONE = [
    ("$A", "1"),
    ("${A}b", "1b"),
    ("$Ab", ""),
    ("$W", "x y"),
    ("${N:-$A}", "1"),
    ("${E:-z}", "z"),
    ("${A:+set}", "set"),
    ("${N:+set}", ""),
    ("${N:-{}}", "{}"),
    ("'$A'", "$A"),
    ('"$A\'"', "1'"),
    ("\\$A", "$A"),
    ('"\\$A \\n"', "$A \\n"),
    ("$", "$"),
    ("a$-", "a$-"),
]


@pytest.mark.parametrize(("text", "value"), ONE)
def test_a_word_is_read_as_a_shell_reads_it(text: str, value: str) -> None:
    assert expanded(text, V) == value


MANY = [
    ("a  b", ["a", "b"]),
    ("$W", ["x", "y"]),
    ('"$W"', ["x y"]),
    ("a'b c'd", ["ab cd"]),
    ("''", [""]),
    ("$E", []),
]


@pytest.mark.parametrize(("text", "value"), MANY)
def test_spaces_outside_of_quotes_divide_words(text: str, value: list[str]) -> None:
    assert words(text, V) == value


def test_what_is_only_split_keeps_its_quotes() -> None:
    assert split("a='b c' \"d e\"=$A f\\ g") == ["a='b c'", '"d e"=$A', "f\\ g"]


@pytest.mark.parametrize("text", ["'a", '"a', "${A", "${A:?x}", "${}", "${A:-"])
def test_what_is_not_closed_or_unknown_is_refused(text: str) -> None:
    with pytest.raises(BadWord):
        expanded(text, V)


@given(st.text())
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    with suppress(BadWord):
        expanded(text, V)
    with suppress(BadWord):
        assert all(words(text, V)) or set("'\"") & set(text)
    with suppress(BadWord):
        assert "".join("".join(split(text)).split()) == "".join(text.split())


@given(st.text(alphabet=st.characters(blacklist_characters="'"), min_size=1))
def test_single_quotes_keep_everything(text: str) -> None:
    assert expanded(f"'{text}'", V) == text
    assert words(f"'{text}'", V) == [text]
