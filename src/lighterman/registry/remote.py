"""A file from a plain URL, as it comes: what `docker import http://...` reads."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from lighterman.errdefs import InvalidParameter, NotFound, System
from lighterman.lib.go_net import request_error
from lighterman.lib.proxies import proxy_for

_PIECE = 1 << 18
_TIMEOUT = ClientTimeout(total=None, sock_connect=30, sock_read=60)


@dataclass(frozen=True)
class Remote:
    """A file that is being read. `size` is 0 when its server does not say."""

    size: int
    chunks: AsyncIterator[bytes]


@asynccontextmanager
async def opened_url(url: str) -> AsyncIterator[Remote]:
    """The file behind an http or https URL. Raises: InvalidParameter, NotFound, System.

    What breaks off later is raised by its chunks, as System.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidParameter(f'Get "{url}": unsupported protocol scheme "{parts.scheme}"')
    async with ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as http:
        try:
            response = await http.get(url, proxy=proxy_for(url, os.environ) or None)
        except (ClientError, OSError) as error:
            raise System(request_error("Get", url, parts.hostname, parts.port or 80, error)) from error
        async with response:
            if response.status >= 400:
                text = f"failed to GET {url} with status {response.status} {response.reason}"
                raise NotFound(text) if response.status == 404 else System(text)
            yield Remote(response.content_length or 0, _chunks(response, url))


async def _chunks(response: ClientResponse, url: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_chunked(_PIECE):
            yield chunk
    except (ClientError, OSError) as error:
        raise System(f'Get "{url}": unexpected EOF') from error
