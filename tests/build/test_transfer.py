"""What COPY and ADD say and refuse, where they go, and what a client's wish means."""

from pathlib import Path

import pytest

from lighterman.apitypes.registry import AuthConfig
from lighterman.build.stage import absolute
from lighterman.build.transfer import Found, check, comment, mode
from lighterman.build.wish import HUB, BuildWish
from lighterman.content import Source
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import Add, Copy, Transfer
from lighterman.reference import parse_reference


def transfer(kind: type[Transfer] = Copy, *, to: str = "/x/", chown: str = "", chmod: str = "") -> Transfer:
    return kind(line=1, original="", sources=("a",), destination=to, chown=chown, chmod=chmod)


def found(*digests: str) -> list[Found]:
    return [Found(Path("/"), tuple(Source(b"", b"", digest) for digest in digests))]


def test_the_history_says_what_dockerds_says() -> None:
    assert comment(transfer(), found("file:1")) == "COPY file:1 in /x/ "
    assert comment(transfer(Add, chown="a:b"), found("dir:1")) == "ADD --chown=a:bdir:1 in /x/ "


@pytest.mark.parametrize(
    ("wish", "there", "words"),
    [
        (transfer(), [], "COPY failed: no source files were specified"),
        (
            transfer(Add, to="/x"),
            ["file:1", "file:2"],
            "When using ADD with more than one source file, the destination must be a directory and end "
            "with a /",
        ),
        (
            transfer(chmod="9"),
            ["file:1"],
            "invalid chmod parameter: '9'. it should be octal string and between 0 and 07777",
        ),
    ],
)
def test_what_cannot_be_copied_is_refused(wish: Transfer, there: list[str], words: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        check(wish, found(*there))
    assert str(raised.value) == words


@pytest.mark.parametrize(("text", "meant"), [("", None), ("755", 0o755), ("04711", 0o4711)])
def test_modes_are_octal(text: str, meant: int | None) -> None:
    assert mode(transfer(chmod=text)) == meant


@pytest.mark.parametrize(
    ("directory", "destination", "target"),
    [
        ("", "x", "/x"),
        ("/a/b", "x/", "/a/b/x/"),
        ("/a/b", ".", "/a/b"),
        ("/a/b", "./", "/a/b/"),
        ("/a", "../../..", "/"),
        ("/a", "/x/../y", "/x/../y"),
        ("a", "b", "/a/b"),
    ],
)
def test_a_relative_target_is_below_the_working_directory(
    directory: str, destination: str, target: str
) -> None:
    assert absolute(directory, destination) == target


def test_names_are_kept_once_in_their_order() -> None:
    names = BuildWish(tags=("b:1", "a", "b:1", "", "a:latest")).names()
    assert [name.familiar() for name in names] == ["b:1", "a:latest"]


@pytest.mark.parametrize("tag", ["UP", "a@sha256:" + "0" * 64])
def test_what_is_no_name_is_refused(tag: str) -> None:
    with pytest.raises(InvalidParameter):
        BuildWish(tags=(tag,)).names()


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("busybox", "hub"),
        ("r.io/x", "r"),
        ("s.io:5000/x", "s"),
        ("other.io/x", None),
        ("docker.io/a/b", "hub"),
    ],
)
def test_credentials_are_those_of_the_images_registry(name: str, user: str | None) -> None:
    keys = {HUB: "hub", "r.io": "r", "https://s.io:5000/v1/": "s"}
    wish = BuildWish(auths={key: AuthConfig(username=user) for key, user in keys.items()})
    found = wish.auth_for(parse_reference(name))
    assert (found.username if found else None) == user
