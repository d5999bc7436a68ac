"""What a .dockerignore takes away."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.build.ignore import (
    Ignored,
    ignore_files,
    matcher,
    matches_stepwise,
    read_patterns,
    tokens,
)
from lighterman.errdefs import InvalidParameter

MATCHES = [
    ("a", "a", True),
    ("a", "a/b/c", True),
    ("a", "b/a", False),
    ("a", "ab", False),
    ("a/b", "a", False),
    ("*", "a/b", True),
    ("*/b", "a/b", True),
    ("*/b", "a/c/b", False),
    ("*/*/b*", "a/c/bx/d", True),
    ("*.md", "README.md", True),
    ("*.md", "docs/README.md", False),
    ("?.c", "a.c", True),
    ("?.c", "ab.c", False),
    ("a?b", "a/b", False),
    ("**/*.go", "x.go", True),
    ("**/*.go", "a/b/x.go", True),
    ("**/*.go", "a/b/x.go/y", True),
    ("**", "a/b", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "ab", False),
    ("a**b", "ax/b", True),
    ("a**b", "axb", False),
    ("**.pyc", "a.pyc", False),
    ("**/node_modules", "a/node_modules/b/c", True),
    ("[a-c]x", "bx", True),
    ("[^a-c]x", "bx", False),
    ("[\\]x]", "]", True),
    ("a\\*b", "a*b", True),
    ("a\\*b", "axb", False),
    ("a+b(c", "a+b(c", True),
    ("a.c", "abc", False),
    (".", ".", False),
]


@pytest.mark.parametrize(("pattern", "path", "taken"), MATCHES)
def test_a_pattern_takes_a_path_and_what_is_below_it(pattern: str, path: str, taken: bool) -> None:
    assert Ignored([pattern]).takes(path) is taken


EXCEPTIONS = [
    (["*.md", "!README.md"], "README.md", False),
    (["*.md", "!README.md"], "x.md", True),
    (["*.md", "!README*.md", "README-secret.md"], "README-secret.md", True),
    (["!README.md", "*.md"], "README.md", True),
    (["a", "!a/b"], "a/b/c", False),
    (["a", "!a/b", "a/b/c"], "a/b/c", True),
    (["**", "!src/**"], "src/x", False),
]


@pytest.mark.parametrize(("patterns", "path", "taken"), EXCEPTIONS)
def test_the_last_pattern_that_matches_decides(patterns: list[str], path: str, taken: bool) -> None:
    assert Ignored(patterns).takes(path) is taken


def test_patterns_are_read_in_their_shortest_form() -> None:
    data = b"\xef\xbb\xbf# comment\n\n  /a/./b/ \r\n ! c/../d\n #not a comment\n//e\n!\n"
    assert read_patterns(data) == ["a/b", "!d", "#not a comment", "e", "!"]


@pytest.mark.parametrize("pattern", ["[", "[]", "[]a]", "[a", "[a-", "[a-]", "[-a]", "a\\", "!", "! "])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameter):
        Ignored([pattern])


def test_a_dockerfile_has_patterns_of_its_own() -> None:
    assert ignore_files("d/Dockerfile.x") == ("d/Dockerfile.x.dockerignore", ".dockerignore")


@given(st.text(alphabet="a/*?[]^-!\\."), st.text(alphabet="ab/.", min_size=1))
def test_whatever_comes_is_matched_or_refused(pattern: str, path: str) -> None:
    with suppress(InvalidParameter):
        Ignored(read_patterns(pattern.encode())).takes(path)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not Ignored(["**/" * 20 + "*a" * 20 + "b"]).takes("a/" * 200 + "a" * 255)


@given(st.text(alphabet="ab/*?[]^-\\."), st.text(alphabet="ab/.-^", min_size=1))
def test_both_ways_to_try_a_pattern_say_the_same(pattern: str, path: str) -> None:
    with suppress(InvalidParameter):
        places = tuple(tokens(pattern))
        assert bool(matcher(places)(path)) is matches_stepwise(places, path)
