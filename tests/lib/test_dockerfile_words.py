"""Words of a Dockerfile: quotes, escapes and variables."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile.words import LONGEST, SPACES, expand, expand_words, split_words

V = {"A": "1", "W": "x y", "E": "", "P": "/usr/local/lib/a.tar.gz", "é": "2"}

ONE = [
    ("$A", "1"),
    ("${A}b", "1b"),
    ("$Ab", ""),
    ("$é", "2"),
    ("$W", "x y"),
    ("$1x", "x"),
    ("$@x", "x"),
    ("${N:-$A}", "1"),
    ("${E:-z}", "z"),
    ("${E-z}", ""),
    ("${N-z}", "z"),
    ("${A:+set}", "set"),
    ("${N:+set}", ""),
    ("${E:+set}", ""),
    ("${E+set}", "set"),
    ("${E?no}", ""),
    ("${A:?no}", "1"),
    ("${N:-'}'}", "}"),
    ("${N:-{}}", "{}"),
    ("${P#*/}", "usr/local/lib/a.tar.gz"),
    ("${P##*/}", "a.tar.gz"),
    ("${P%.*}", "/usr/local/lib/a.tar"),
    ("${P%%.*}", "/usr/local/lib/a"),
    ("${P#x}", "/usr/local/lib/a.tar.gz"),
    ("${P/l?c/LOC}", "/usr/LOCal/lib/a.tar.gz"),
    ("${P//\\//:}", ":usr:local:lib:a.tar.gz"),
    ("${P/nothing/x}", "/usr/local/lib/a.tar.gz"),
    ("${P/l*l/L}", "/usr/Lib/a.tar.gz"),
    ("'$A'", "$A"),
    ('"$A\'"', "1'"),
    ("\\$A", "$A"),
    ('"\\$A \\n"', "$A \\n"),
    ("a\\", "a"),
    ('"a\\"b"', 'a"b'),
    ("$", "$"),
    ("a$b-", "a-"),
]


@pytest.mark.parametrize(("text", "value"), ONE)
def test_a_word_is_read_as_dockerds_shell_reads_it(text: str, value: str) -> None:
    assert expand(text, V) == value


def test_the_escape_character_is_the_directives() -> None:
    assert expand("C:\\dir`$A", V, "`") == "C:\\dir$A"


def test_in_a_heredoc_quotes_are_characters() -> None:
    assert expand('it\'s "$A" \\$A', V, quotes=False) == 'it\'s "1" $A'


MANY = [
    ("a  b", ["a", "b"]),
    ("$W", ["x", "y"]),
    ('"$W"', ["x y"]),
    ("a'b c'd", ["ab cd"]),
    ("''", []),
    ("'' b", ["b"]),
    ("$E", []),
]


@pytest.mark.parametrize(("text", "value"), MANY)
def test_spaces_outside_of_quotes_divide_words(text: str, value: list[str]) -> None:
    assert expand_words(text, V) == value


def test_what_is_only_split_keeps_its_quotes() -> None:
    assert split_words("a='b c' \"d e\"=$A f\\ g '") == ["a='b c'", '"d e"=$A', "f\\ g", "'"]


REFUSED = [
    ("'a", "unexpected end of statement while looking for matching single-quote"),
    ('"a', "unexpected end of statement while looking for matching double-quote"),
    ("${", "syntax error: missing '}'"),
    ("${}", "syntax error: bad substitution"),
    ("${:x}", "syntax error: bad substitution"),
    ("${A", "missing ':' in substitution"),
    ("${A^}", "missing ':' in substitution"),
    ("${A:-", "syntax error: missing '}'"),
    ("${A:x}", "unsupported modifier (x) in substitution"),
    ("${N:?}", "N: is not allowed to be unset"),
    ("${E:?}", "E: is not allowed to be empty"),
    ("${N?no good}", "N: no good"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_is_not_closed_or_unknown_is_refused_in_dockerds_words(text: str, why: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        expand(text, V)
    assert str(refused.value) == f'failed to process "{text}": {why}'.replace('""a"', '"\\"a"')


def test_a_word_cannot_grow_without_end() -> None:
    with pytest.raises(InvalidParameter, match=str(LONGEST)):
        expand('"' + "$A" * 3 + '"', {"A": "x" * (LONGEST // 2)})


@given(st.text())
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    with suppress(InvalidParameter):
        expand(text, V)
    with suppress(InvalidParameter):
        assert all(expand_words(text, V))
    assert all(split_words(text))


@given(st.text(alphabet=st.characters(blacklist_characters="'"), min_size=1))
def test_single_quotes_keep_everything(text: str) -> None:
    assert expand(f"'{text}'", V) == text
    assert expand_words(f"'{text}'", V) == [text]


@given(
    st.lists(st.sampled_from(["a", "b", "*", "?", "\\a"])).map("".join), st.text(alphabet="ab", max_size=20)
)
def test_a_pattern_takes_what_stands_at_the_ends(pattern: str, text: str) -> None:
    variables = {"T": text}
    for operator in ("#", "##"):
        assert text.endswith(expand(f"${{T{operator}{pattern}b}}", variables))
    for operator in ("%", "%%"):
        assert text.startswith(expand(f"${{T{operator}a{pattern}}}", variables))


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    text = "a" * 100_000
    assert expand("${T##*a*a*a*a*a*a*a*a*b}", {"T": text}) == text


def test_spaces_are_those_of_go() -> None:
    assert "\x1f" not in SPACES
    assert "\x85" in SPACES
