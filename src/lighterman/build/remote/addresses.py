"""Addresses of what lies elsewhere: which are of Git, and what they say. Pure.

A Git address is a repository's URL with a fragment: `https://host/repo.git#branch:directory`.
Source: pkg/urlutil and builder/remotecontext/git of dockerd 20.10.24; so are the texts.
"""

import re
from urllib.parse import urlsplit

from msgspec import Struct

from lighterman.errdefs import InvalidParameter

_WEB = ("http://", "https://")
_GIT = ("git://", "git@")
_SHORT = "github.com/"
_REPOSITORY = re.compile(r"\.git(?:#.+)?$")
TRANSPORTS = ("git", "http", "https", "ssh")


def is_url(text: str) -> bool:
    """Whether it is of the web."""
    return text.startswith(_WEB)


def is_git_source(text: str) -> bool:
    """Whether a source of ADD is a repository."""
    return text.startswith(_GIT) or (is_url(text) and _REPOSITORY.search(text) is not None)


def is_git_context(text: str) -> bool:
    """Whether a build's context is a repository."""
    return is_git_source(text) or text.startswith(_SHORT)


class GitAddress(Struct, frozen=True):
    """What to fetch."""

    repository: str
    ref: str = ""
    """A branch, a tag or a commit; empty: what the repository has as its head."""
    directory: str = ""
    """Within the repository; empty: all of it."""


def parse_git_address(text: str) -> GitAddress:
    """The parts of an address. Raises: InvalidParameter."""
    if not text.startswith("git@") and urlsplit(text).scheme not in TRANSPORTS:
        text = f"https://{text}"
    repository, _, fragment = text.partition("#")
    ref, _, directory = fragment.partition(":")
    if ref.startswith("-"):
        raise InvalidParameter(f"invalid refspec: {ref}")
    return GitAddress(repository, ref, directory)
