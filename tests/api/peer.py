"""A client that sends bytes to the server under test, and takes apart what comes back."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from msgspec import Struct


class Answered(Struct, frozen=True):
    """An answer, taken apart."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.line.split()[1])


class Peer:
    """Where a test's server listens."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.address = address

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address)
        return await asyncio.open_connection(*self.address)

    async def raw(self, sent: bytes) -> bytes:
        """All that comes back for these bytes until the server closes."""
        reader, writer = await self.connect()
        writer.write(sent)
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        return answer

    async def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answered:
        """One request on a connection of its own."""
        length = [f"Content-Length: {len(body)}"] if body else []
        head = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close", *length, *headers]
        return taken_apart(await self.raw("\r\n".join([*head, "", ""]).encode() + body))


def taken_apart(answer: bytes) -> Answered:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    return Answered(line, dict(each.split(": ", 1) for each in headers), body)


Serve = Callable[..., AbstractAsyncContextManager[Peer]]
"""`serve(routes, grace_s=...)`: a server for a table of routes, as an async context manager."""
