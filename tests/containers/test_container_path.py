"""Paths of the archive operations: cleaned, but for an end that means something (dockerd 20.10.24)."""

import pytest

from lighterman.containers.container_path import absolute, base


@pytest.mark.parametrize(
    ("path", "clean", "name"),
    [
        ("/", "/", "/"),
        ("//", "/", "/"),
        ("/a", "/a", "a"),
        ("a/b", "/a/b", "b"),
        ("/a/", "/a/", "a"),
        ("/a/.", "/a/.", "."),
        (".", "/.", "."),
        ("..", "/", "/"),
        ("/../../a", "/a", "a"),
        ("/a//b", "/a/b", "b"),
        ("/a/../b/./c", "/b/c", "c"),
        ("/a/...", "/a/...", "..."),
    ],
)
def test_a_path_is_cleaned_and_named(path: str, clean: str, name: str) -> None:
    assert (absolute(path), base(absolute(path))) == (clean, name)
