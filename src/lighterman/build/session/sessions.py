"""The sessions that there are, and the wait for one that is still to come."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from lighterman.content import Content
from lighterman.errdefs import InvalidParameter
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread
from lighterman.runtime import Client

if TYPE_CHECKING:
    from lighterman.build.session.channel import Channel

PATIENCE_S = 20.0
"""How long a build waits for the session that it names: clients open both connections at once."""


class NoSuchSession(InvalidParameter):
    def __init__(self, session_id: str) -> None:
        super().__init__(f"no active session for {session_id}")


class SessionWish(Struct, frozen=True):
    """What the headers of the request say."""

    id: str
    name: str = ""
    shared_key: str = ""
    """The same for builds of one directory, whoever asks for them."""
    methods: frozenset[str] = frozenset()
    """In small letters: `/moby.filesync.v1.filesync/diffcopy`."""


class Session(Struct, frozen=True):
    """A client that serves."""

    wish: SessionWish
    channel: "Channel"

    def serves(self, method: str) -> bool:
        """Whether it said so: `/moby.filesync.v1.FileSync/DiffCopy`."""
        return method.lower() in self.wish.methods


class Sessions:
    """All sessions of this engine, by id."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._open: dict[str, Session] = {}
        self._changed = asyncio.Condition()
        self._background = Background()

    def begin(self, wish: SessionWish, client: Client) -> None:
        """Take the connection and serve until its client goes.

        Raises: InvalidParameter: it has no id, or that of another.
        """
        self.check(wish)
        self._background.start(self._serve, wish, client)

    def check(self, wish: SessionWish) -> None:
        """Raises: InvalidParameter, as `begin`."""
        if not wish.id:
            raise InvalidParameter("a session has to have an id (X-Docker-Expose-Session-Uuid)")
        if wish.id in self._open:
            raise InvalidParameter(f"session {wish.id} is there already")

    @asynccontextmanager
    async def get(self, session_id: str, *, patience_s: float = PATIENCE_S) -> AsyncIterator[Session]:
        """The session, once it is there. The block is cancelled when its client goes.

        Raises: NoSuchSession: it does not come, or goes.
        """
        session_id = session_id.rpartition(":")[2]  # clients put the context's key before it
        session = await self._come(session_id, patience_s)
        async with session.channel.while_open(lambda: NoSuchSession(session_id)):
            yield session

    async def _come(self, session_id: str, patience_s: float) -> Session:
        try:
            async with asyncio.timeout(patience_s), self._changed:
                await self._changed.wait_for(lambda: session_id in self._open)
                return self._open[session_id]
        except TimeoutError:
            raise NoSuchSession(session_id) from None

    async def close(self) -> None:
        """End all."""
        await self._background.close(cancel=True)

    async def _serve(self, wish: SessionWish, client: Client) -> None:
        try:
            opened = await in_thread(_loaded)
            async with opened(self._content, client) as channel:
                self._open[wish.id] = Session(wish, channel)
                try:
                    await self._tell()
                    await channel.closed.wait()
                finally:
                    del self._open[wish.id]
        finally:
            client.sock.close()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _loaded() -> "Callable[[Content, Client], AbstractAsyncContextManager[Channel]]":
    from lighterman.build.session.channel import opened_channel

    return opened_channel
