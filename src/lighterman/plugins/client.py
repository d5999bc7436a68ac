"""Speaking to a plugin: JSON posted to its socket. Source: plugin API of Docker's documentation; moby's
pkg/plugins.

A call is tried again while nobody listens, for a plugin that is just starting, or starting again. Once it was
sent it is never sent again: whatever it asked for may have happened.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import ClientResponse, ClientSession, ClientTimeout
from msgspec import Struct

from lighterman.plugins.errors import CallFailed, DriverRefused, NoAnswer, StatusRefused

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
ANSWER_MAX_BYTES = 16 << 20
FIRST_DELAY_S, LONGEST_DELAY_S = 0.1, 4.0
"""Between two attempts to connect; doubled each time."""


class Answer(msgspec.Struct, rename="pascal"):
    """What every plugin may answer: that it did not work, and why; IPAM drivers call it Error."""

    err: str | None = None
    error: str | None = None


A = TypeVar("A", bound=Answer)


class Address(Struct, frozen=True):
    """Where a plugin listens: on a unix socket, or at a host and port, with TLS or without."""

    path: str = ""
    host: str = ""
    tls: ssl.SSLContext | None = None

    def url(self, method: str) -> str:
        """What is posted to, as Go writes it in errors."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{quote(self.path, safe='') or self.host}/{method}"


class PluginClient:
    """The way to one plugin. `timeout_s` bounds each call of it, 0 is no bound but the call's own."""

    def __init__(self, name: str, address: Address, *, timeout_s: float, patience_s: float) -> None:
        self.name, self.address = name, address
        self._timeout_s, self._patience_s = timeout_s, patience_s

    def impatient(self) -> "PluginClient":
        """The same, who does not wait for a plugin that does not listen."""
        return PluginClient(self.name, self.address, timeout_s=self._timeout_s, patience_s=0)

    async def call(self, method: str, body: object, kind: type[A], *, timeout_s: float = 0) -> A:
        """The plugin's answer to `method`, e.g. "VolumeDriver.Mount".

        Raises: CallFailed (nobody there, no answer in time, nonsense), DriverRefused with the plugin's text.
        """
        limits = [limit for limit in (timeout_s, self._timeout_s) if limit]
        limit_s = min(limits) if limits else None
        raw = msgspec.json.encode(body) if body is not None else b""
        try:
            async with asyncio.timeout(limit_s), self._posted(method, raw) as response:
                answer = await _whole(response, f"{self.name}: {method}")
        except TimeoutError as error:
            raise NoAnswer(
                f'Post "{self.address.url(method)}": context deadline exceeded '
                f"(the plugin {self.name} did not answer within {limit_s:g} s)"
            ) from error
        try:
            told = msgspec.convert(_first(answer), kind)
        except (ValueError, RecursionError) as error:
            raise CallFailed(f"{method}: the plugin {self.name} answered nonsense: {error}") from error
        if refusal := told.err or told.error:
            raise DriverRefused(refusal)
        return told

    @asynccontextmanager
    async def stream(self, method: str, body: object) -> AsyncIterator[AsyncIterator[bytes]]:
        """The pieces of a long answer. Raises: CallFailed."""
        async with self._posted(method, msgspec.json.encode(body)) as response:
            yield _pieces(response, f"{self.name}: {method}")

    @asynccontextmanager
    async def _posted(self, method: str, body: bytes) -> AsyncIterator[ClientResponse]:
        """The answer to a request, its head read."""
        loop = asyncio.get_running_loop()
        give_up, delay_s = loop.time() + self._patience_s, FIRST_DELAY_S
        while True:
            async with self._session() as session:
                try:
                    response = await session.post(
                        self._target(method),
                        data=body,
                        headers={"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE},
                    )
                except aiohttp.ClientConnectorError as error:
                    if loop.time() + delay_s >= give_up:
                        raise NoAnswer(self._failed(method, error.os_error)) from error
                    log.warning("unable to connect to plugin %s: %s, retrying", self.name, error.os_error)
                except (aiohttp.ClientError, OSError) as error:
                    raise NoAnswer(self._failed(method, error)) from error
                else:
                    async with response:
                        if response.status != 200:
                            raise await _refused(response, method)
                        yield response
                        return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    def _session(self) -> ClientSession:
        address = self.address
        connector: aiohttp.BaseConnector = (
            aiohttp.UnixConnector(address.path)
            if address.path
            else aiohttp.TCPConnector(ssl=address.tls if address.tls else True)
        )
        return ClientSession(
            connector=connector, timeout=ClientTimeout(total=None), cookie_jar=aiohttp.DummyCookieJar()
        )

    def _target(self, method: str) -> str:
        return f"http://plugin/{method}" if self.address.path else self.address.url(method)

    def _failed(self, method: str, error: Exception) -> str:
        if isinstance(error, aiohttp.ServerDisconnectedError):
            why = "EOF"
        elif isinstance(error, OSError) and error.strerror and self.address.path:
            why = f"dial unix {self.address.path}: connect: {error.strerror.lower()}"
        else:
            why = str(error) or type(error).__name__
        return f'Post "{self.address.url(method)}": {why}'


async def _refused(response: ClientResponse, method: str) -> StatusRefused:
    """Source: callWithRetry of moby: the text is in `Err`, or it is all there is."""
    raw = await _whole(response, method)
    try:
        text = msgspec.json.decode(raw, type=Answer).err or raw.decode(errors="replace")
    except msgspec.DecodeError:
        text = raw.decode(errors="replace")
    return StatusRefused(response.status, f"{method}: {text}")


def _first(answer: bytes) -> Any:
    """The first value in the answer, which is all that Go's decoder looks at; nothing is an empty object.

    Raises: ValueError.
    """
    value, _ = json.JSONDecoder().raw_decode(answer.decode().lstrip())
    return {} if value is None else value


async def _whole(response: ClientResponse, what: str) -> bytes:
    body = bytearray()
    async for piece in _pieces(response, what):
        body += piece
        if len(body) > ANSWER_MAX_BYTES:
            raise CallFailed(f"{what}: the answer has more than {ANSWER_MAX_BYTES} bytes")
    return bytes(body)


async def _pieces(response: ClientResponse, what: str) -> AsyncIterator[bytes]:
    try:
        async for piece in response.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as error:
        raise NoAnswer(f"{what}: unexpected EOF") from error
