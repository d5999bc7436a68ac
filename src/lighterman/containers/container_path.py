"""Paths as clients of the archive operations write them. Pure: what they lead to is not known here.

A slash or a dot at the end means the directory that a link leads to, and not the link, so it is kept.
Source: PreserveTrailingDotOrSeparator of moby, measured on dockerd 20.10.24.
"""

import posixpath


def absolute(path: str) -> str:
    """The path from the root, clean but for its end."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if posixpath.basename(path.rstrip("/")) == ".":
        return clean.rstrip("/") + "/."
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def base(path: str) -> str:
    """The name of what is at an absolute path; "/" for the root, "." where the path ends in one."""
    return posixpath.basename(path.rstrip("/")) or "/"
