"""What comes from the web: a context, which is an archive or a Dockerfile, or a file for ADD.

Source: builder/remotecontext/remote and builder/dockerfile/copy of dockerd 20.10.24; so are the texts.
"""

import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote

from msgspec import Struct

from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.lib.effects import in_thread
from lighterman.lib.go_quote import go_quote
from lighterman.registry import Remote, opened_url

LARGEST = 16 << 30
"""Bytes."""
_PREAMBLE = 100
_ACCEPTED = re.compile(
    r"application/(?:(?:x-)?tar|octet-stream|(?:x-)?(?:gzip|bzip2?|xz|zstd))|text/plain", re.IGNORECASE
)
_MARKUP = re.compile(
    rb"\s*<(?:!doctype|html|head|body|script|iframe|table|title|style|!--|\?xml)", re.IGNORECASE
)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


class RemoteContext(Struct, frozen=True):
    """A context that is being read."""

    chunks: AsyncIterator[bytes]
    is_dockerfile: bool
    """The text of a Dockerfile, and no files beside it; else an archive, in whatever compression."""
    size: int = 0
    """Bytes, 0 when nobody says."""


@asynccontextmanager
async def opened_web_context(url: str) -> AsyncIterator[RemoteContext]:
    """The context behind a URL. Raises: as `opened_url`; InvalidParameter when it is no context."""
    async with AsyncExitStack() as stack:
        try:
            remote = await stack.enter_async_context(opened_url(url))
        except EngineError as error:
            raise type(error)(f"error downloading remote context {url}: {error}") from error
        head, chunks = await _preamble(limited(remote.chunks, url))
        kind = _context_type(remote.media_type, head, url)
        yield RemoteContext(chunks, is_dockerfile=kind == "text/plain", size=remote.size)


async def _preamble(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= _PREAMBLE:
            break

    async def all_of_it() -> AsyncIterator[bytes]:
        if head:
            yield head
        async for chunk in chunks:
            yield chunk

    return head, all_of_it()


async def limited(chunks: AsyncIterator[bytes], url: str, most: int = LARGEST) -> AsyncIterator[bytes]:
    """The chunks. Raises: InvalidParameter once they are more than `most` bytes."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise InvalidParameter(f"{url} is larger than {most} bytes")
        yield chunk


def _context_type(media_type: str, head: bytes, url: str) -> str:
    """What it is, by what the server says, or by its beginning where the server does not know."""
    trouble = f"error detecting content type for remote {url}: "
    if not head:
        raise InvalidParameter(f"{trouble}empty response")
    known = media_type if media_type not in ("", "application/octet-stream") else _sniffed(head)
    accepted = _ACCEPTED.search(known)
    if accepted is None:
        raise InvalidParameter(f"{trouble}unsupported Content-Type {go_quote(media_type)}")
    return accepted[0].lower()


def _sniffed(head: bytes) -> str:
    """Source: DetectContentType of Go's net/http, as far as contexts are concerned."""
    if _MARKUP.match(head):
        return "text/html"
    return "application/octet-stream" if _BINARY.search(head[:_PREAMBLE]) else "text/plain"


class Downloaded(Struct, frozen=True):
    """A file that ADD has fetched."""

    path: Path
    named: bool
    """Whether the URL or its server gave it a name. One that has none cannot go into a directory."""


Tell = Callable[[int, int], Awaitable[None]]
"""Hears now and then how many bytes have come, and of how many; 0 when nobody knows."""
_TELL_EVERY_S = 0.1


async def download(url: str, directory: Path, tell: Tell) -> Downloaded:
    """Fetch a file into `directory`, with the mode 0600 and the time that its server knows.

    Raises: as `opened_url`; InvalidParameter when it is too large.
    """
    async with opened_url(url) as remote:
        name = file_name(remote)
        path = directory / (name or "__unnamed__")
        file = await in_thread(_created, path)
        try:
            async for chunk in _counted(limited(remote.chunks, url), remote.size, tell):
                await in_thread(file.write, chunk)
        finally:
            await in_thread(file.close)
        await in_thread(os.utime, path, (_modified_s(remote), _modified_s(remote)))
    return Downloaded(path, named=bool(name))


async def _counted(chunks: AsyncIterator[bytes], total: int, tell: Tell) -> AsyncIterator[bytes]:
    """The chunks; their bytes are told now and then, and at the end."""
    current, told_s = 0, 0.0
    async for chunk in chunks:
        current += len(chunk)
        if (now_s := time.monotonic()) - told_s >= _TELL_EVERY_S:
            told_s = now_s
            await tell(current, total)
        yield chunk
    await tell(current, total)


def _created(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def file_name(remote: Remote) -> str:
    """The name that a URL's path or its server gives; empty when there is none."""
    path = unquote(remote.path)
    if path and not path.endswith("/") and (name := _leaf(path)):
        return name
    header = Message()
    header["Content-Disposition"] = remote.disposition
    return _leaf(header.get_filename() or "")


def _leaf(path: str) -> str:
    name = PurePosixPath(path.replace("\\", "/")).name
    return "" if name in (".", "..") or "\0" in name else name


def _modified_s(remote: Remote) -> int:
    try:
        return max(0, int(parsedate_to_datetime(remote.last_modified).timestamp()))
    except (ValueError, OverflowError):
        return 0
