"""What the sources of a COPY or ADD mean in a root, with a digest of all that each of them holds.

Wildcards are those of Go's `filepath.Match`, and lead through no link. What is found is resolved by the
kernel as if the root were "/". Source: calcCopyInfo and copyWithWildcards of moby 20.10.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence

from lighterman.content import tarsum
from lighterman.content.jobs import Source
from lighterman.content.rooted import evaluated, look, look_up, open_in_root, read_link, readable
from lighterman.content.streams import read
from lighterman.content.tree import DEPTH_MAX, Refused

Sums = Mapping[bytes, str]
"""Digests by path, of a context that was unpacked."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WILD = re.compile(rb"\\.|([*?\[])", re.DOTALL)


class Missing(Exception):
    """There is no such file. The text is the path."""


class Outside(Exception):
    """The path leads out of the root. The text is the path."""


def found(root: int, patterns: Sequence[bytes], sums: Sums | None, *, unpack: bool) -> list[Source]:
    """The sources, in the order of the patterns. Raises: Missing, Outside, Refused, OSError."""
    finder = _Finder(root, sums, unpack)
    return [source for pattern in patterns for source in finder.find(pattern)]


def is_wild(pattern: bytes) -> bool:
    """Whether there is a wildcard in it that no backslash takes away."""
    return any(match[1] for match in _WILD.finditer(pattern))


class _Finder:
    def __init__(self, root: int, sums: Sums | None, unpack: bool) -> None:
        self._root = root
        self._sums = sums
        self._unpack = unpack

    def find(self, pattern: bytes) -> Iterator[Source]:
        clean = os.path.normpath(pattern.removeprefix(b"/") or b".")
        if clean == b".." or clean.startswith(b"../"):
            raise Outside(os.fsdecode(pattern))
        path = pattern.removeprefix(b"/").removeprefix(b"./")
        if not is_wild(path):
            yield self._source(path or b".")
            return
        for match in self._matches(path):
            yield self._source(match)

    def _source(self, path: bytes) -> Source:
        where = evaluated(self._root, path)[1:]
        try:
            fd = look_up(self._root, where or b".")
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(os.fsdecode(path)) from None
        try:
            name = os.path.basename(path.rstrip(b"/"))
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                listed = ",".join(sorted(self._inside(fd, where, 0)))
                return Source(where, name, f"dir:{hashlib.sha256(listed.encode()).hexdigest()}")
            return Source(where, name, f"file:{self._digest(fd, where)}", self._unpack)
        finally:
            os.close(fd)

    def _inside(self, fd: int, path: bytes, depth: int) -> Iterator[str]:
        """The digests of a directory and of all that is in it; of the root itself none."""
        if depth > DEPTH_MAX:
            raise Refused(f"a directory lies more than {DEPTH_MAX} deep")
        if path:
            yield self._digest(fd, path)
        directory = os.open(".", _DIRECTORY, dir_fd=fd)
        try:
            for name in map(os.fsencode, os.listdir(directory)):
                child, below = look(name, directory), path + b"/" + name if path else name
                try:
                    if stat.S_ISDIR(os.fstat(child).st_mode):
                        yield from self._inside(child, below, depth + 1)
                    else:
                        yield self._digest(child, below)
                finally:
                    os.close(child)
        finally:
            os.close(directory)

    def _digest(self, fd: int, path: bytes) -> str:
        if self._sums is not None:
            # a directory that the archive left out has none
            return self._sums.get(path) or path.decode(errors="backslashreplace")
        is_link = stat.S_ISLNK(os.fstat(fd).st_mode)
        begun = tarsum.begin_of(fd, path, read_link(fd) if is_link else b"")
        if begun is None:
            return path.decode(errors="backslashreplace")
        digest, size = begun
        if size:
            data = readable(fd)
            try:
                for chunk in read(data):
                    digest.update(chunk)
            finally:
                os.close(data)
        return digest.hexdigest()

    def _matches(self, pattern: bytes) -> Iterator[bytes]:
        """The paths that a pattern means, in the order of a walk."""
        parts = [re.compile(_expression(part), re.DOTALL) for part in pattern.split(b"/") if part != b"."]
        directory = open_in_root(self._root, b".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield from _walk(directory, parts, b"")
        finally:
            os.close(directory)


def _walk(directory: int, parts: Sequence["re.Pattern[bytes]"], above: bytes) -> Iterator[bytes]:
    part, *below = parts
    for name in sorted(map(os.fsencode, os.listdir(directory))):
        if not part.fullmatch(name):
            continue
        if not below:
            yield above + name
            continue
        try:
            child = os.open(name, _DIRECTORY, dir_fd=directory)
        except OSError:  # no directory
            continue
        try:
            yield from _walk(child, below, above + name + b"/")
        finally:
            os.close(child)


def _expression(part: bytes) -> bytes:
    """One part of a pattern of Go's path.Match as a regular expression. Raises: Refused.

    What lies between two stars has a fixed length, so its first place will do: it is never looked for again,
    and a pattern of many stars takes no longer than one of few.
    """
    first, *rest = _between_stars(part)
    if not rest:
        return first
    *middle, last = rest
    return first + b"".join(b"(?>.*?%b)" % piece for piece in middle) + b".*" + last


def _between_stars(part: bytes) -> list[bytes]:
    """The pieces of a pattern as regular expressions, cut at its stars."""
    pieces, at = [b""], 0
    while at < len(part):
        char = part[at : at + 1]
        at += 1
        if char == b"*":
            pieces.append(b"")
        elif char == b"?":
            pieces[-1] += b"."
        elif char == b"[":
            end = part.find(b"]", at + 1)
            if end < 0:
                raise Refused("syntax error in pattern")
            pieces[-1] += _class(part[at:end])
            at = end + 1
        elif char == b"\\":
            if at >= len(part):
                raise Refused("syntax error in pattern")
            pieces[-1] += re.escape(part[at : at + 1])
            at += 1
        else:
            pieces[-1] += re.escape(char)
    return pieces


def _class(inside: bytes) -> bytes:
    """`[a-c]` and `[^x]`: a range keeps its dash, all else that a class could take for itself is escaped."""
    negated = b"^" if inside.startswith(b"^") else b""
    body = re.sub(rb"([\\\[\]^&~|])", rb"\\\1", inside.removeprefix(b"^").replace(b"\\", b""))
    return b"[" + negated + body + b"]"
