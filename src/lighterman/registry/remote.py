"""A file from a plain URL, as it comes: what `docker import http://...` and builds read."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from msgspec import Struct

from lighterman.errdefs import EngineError, Forbidden, InvalidParameter, NotFound, System, Unauthorized
from lighterman.lib.effects import in_thread
from lighterman.lib.go_net import request_error
from lighterman.lib.proxies import proxy_for
from lighterman.lib.tls import client_context
from lighterman.registry.session import cause

_PIECE = 1 << 18
_TIMEOUT = ClientTimeout(total=None, sock_connect=30, sock_read=60)
_REFUSAL_MAX = 1 << 16
_KINDS: dict[int, type[EngineError]] = {
    400: InvalidParameter,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
}


class Remote(Struct, frozen=True):
    """A file that is being read."""

    size: int
    """0 when its server does not say."""
    chunks: AsyncIterator[bytes]
    media_type: str = ""
    """As its server says it, without parameters."""
    path: str = ""
    """Of the URL that was asked for, as it is written: where it was redirected to may have no name at all."""
    disposition: str = ""
    """The header `Content-Disposition`, that may name the file."""
    last_modified: str = ""
    """The header of this name."""


@asynccontextmanager
async def opened_url(url: str) -> AsyncIterator[Remote]:
    """The file behind an http or https URL.

    What breaks off later is raised by its chunks, as System.
    Raises: InvalidParameter, Unauthorized, Forbidden, NotFound, System.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidParameter(f'Get "{url}": unsupported protocol scheme "{parts.scheme}"')
    async with ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as http:
        try:
            context = await in_thread(client_context)  # plain HTTP may lead to TLS
            response = await http.get(url, proxy=proxy_for(url, os.environ) or None, ssl=context)
        except (ClientError, OSError) as error:
            text = request_error("Get", url, parts.hostname, parts.port or 80, cause(error))
            raise System(text) from error
        async with response:
            if response.status >= 400:
                raise await _refused(response, url)
            yield Remote(
                response.content_length or 0,
                _chunks(response, url),
                media_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                path=parts.path,
                disposition=response.headers.get("Content-Disposition", ""),
                last_modified=response.headers.get("Last-Modified", ""),
            )


async def _refused(response: ClientResponse, url: str) -> EngineError:
    """Source: GetWithStatusError of dockerd 20.10.24."""
    said = (await response.content.read(_REFUSAL_MAX)).decode(errors="replace").strip()
    text = f"failed to GET {url} with status {response.status} {response.reason}: {said}"
    return _KINDS.get(response.status, System)(text)


async def _chunks(response: ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_chunked(_PIECE):
            yield chunk
    except (ClientError, OSError) as error:
        raise System(f'Get "{url}": unexpected EOF') from error
