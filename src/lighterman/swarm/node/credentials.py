"""Who this node is: what its books say, and the TLS that is made of it.

Everything else of a node asks here: for its identity, for contexts of TLS, and for what another manager
answers. A change is made in memory and then saved, by one writer at a time.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from lighterman.errdefs import System
from lighterman.lib.effects import in_thread
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.certificates import Identity
from lighterman.swarm.errors import SwarmLocked
from lighterman.swarm.facade import Engine, sweep
from lighterman.swarm.node.addresses import split_port
from lighterman.swarm.node.books import Books, Keys, Membership, write_private
from lighterman.swarm.node.listener import server_context
from lighterman.swarm.node.wire import KEYS_PATH, KeysAnswer, KeysWish, Unreachable, ask, client_context
from lighterman.swarm.session import Peer
from lighterman.swarm.store.keyring import DataKey

T = TypeVar("T")
log = logging.getLogger(__name__)


class Credentials:
    """A node's membership and keys."""

    def __init__(
        self, engine: Engine, membership: Membership, keys: Keys | None, unlock_key: bytes = b""
    ) -> None:
        """`keys` is None for a manager that is locked; `unlock_key` seals them, b"" does not."""
        self.engine = engine
        self.membership = membership
        self.unlock_key = unlock_key
        self._keys = keys
        self._books = Books(engine.root)
        self._writing = asyncio.Lock()
        self._shown: Keys | None = None  # what the files of TLS hold

    @classmethod
    async def read(cls, engine: Engine) -> "Credentials":
        """As the last engine has left them."""
        books = Books(engine.root)
        membership = await in_thread(books.membership)
        try:
            return cls(engine, membership, await in_thread(books.keys))
        except SwarmLocked:
            return cls(engine, membership, None)

    @property
    def node_id(self) -> str:
        return self.membership.node_id

    @property
    def is_locked(self) -> bool:
        return self._keys is None

    @property
    def keys(self) -> Keys:
        """Raises: SwarmLocked."""
        if self._keys is None:
            raise SwarmLocked
        return self._keys

    @keys.setter
    def keys(self, keys: Keys) -> None:
        self._keys = keys

    @property
    def identity(self) -> Identity:
        """What the certificate says. Raises: SwarmLocked."""
        return certificates.identity_of_pem(self.keys.certificate)

    @property
    def is_manager(self) -> bool:
        """Whether the node has the role; one that is locked has it."""
        return self._keys is None or self.identity.role == "manager"

    @property
    def is_expired(self) -> bool:
        """Raises: SwarmLocked."""
        return certificates.valid_between(self.keys.certificate)[1] < dt.datetime.now(dt.UTC)

    @property
    def advertise_host(self) -> str:
        """Where others find this node, without a port."""
        return split_port(self.membership.advertise)[0]

    @property
    def data_path(self) -> str:
        """Where its tunnels end."""
        return self.membership.data_path or self.membership.local

    # Changes

    async def save(self) -> None:
        """Write the books as they are now."""
        async with self._writing:
            await in_thread(self._write)

    async def open(self, unlock_key: bytes) -> None:
        """Open what is sealed. Raises: WrongUnlockKey."""
        self._keys = await in_thread(self._books.keys, unlock_key)
        self.unlock_key = unlock_key

    async def erase(self) -> None:
        """Be in no swarm."""
        async with self._writing:
            await in_thread(sweep, self.engine)

    async def know(self, managers: tuple[Peer, ...]) -> None:
        """Turn to these managers from now on."""
        if managers and managers != self.membership.managers:
            self.membership = replace(self.membership, managers=managers)
            try:
                await self.save()
            except OSError as error:  # a full disk: it is known until the engine ends, and told again then
                log.warning("the swarm's books cannot be written: %s", error)

    async def keep_data_keys(self, keys: Iterable[DataKey]) -> None:
        """Have these data keys on the disk, before anything is sealed with them."""
        known = {each.id for each in self.keys.data_keys}
        new = tuple(each for each in keys if each.id not in known)
        if new:
            self.keys = replace(self.keys, data_keys=self.keys.data_keys + new)
            await self.save()

    async def missing_data_keys(self) -> tuple[DataKey, ...]:
        """The data keys of all managers that answer; this one has them from now on."""
        context, found = await self.client_context(), list[DataKey]()
        for peer in self.others:
            with contextlib.suppress(System):
                answer = await ask(peer.addr, KEYS_PATH, KeysWish(), KeysAnswer, context, deadline_s=5.0)
                found.extend(answer.data_keys)
        await self.keep_data_keys(found)
        return tuple(found)

    def _write(self) -> None:
        """The membership is last: with it the node is one."""
        self._books.write_keys(self.keys, self.unlock_key)
        self._books.write_membership(self.membership)

    # TLS, and whom the node asks

    async def server_context(self) -> ssl.SSLContext:
        """For the port that nodes come to."""
        async with self._writing:
            return await in_thread(self._server_context)

    async def client_context(self) -> ssl.SSLContext:
        """For the ports of other managers."""
        async with self._writing:
            return await in_thread(self._client_context)

    def _server_context(self) -> ssl.SSLContext:
        return server_context(self.membership.root, *map(str, self._files()))

    def _client_context(self) -> ssl.SSLContext:
        return client_context(self.membership.root, *map(str, self._files()))

    def _files(self) -> tuple[Path, Path]:
        """Of certificate and key: TLS reads them from files only."""
        directory = self.engine.exec_root
        certificate, key = directory / "node.crt", directory / "node.key"
        if self._shown is not self.keys:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(certificate, self.keys.certificate)
            write_private(key, self.keys.key)
            self._shown = self.keys
        return certificate, key

    @property
    def others(self) -> list[Peer]:
        """The managers that it knows, without itself, and, of a manager, without what this host was in an
        earlier life: at its address it would find itself. A worker may have a manager's address.
        """
        own = self.membership.advertise if self.is_manager else ""
        return [
            peer for peer in self.membership.managers if peer.node_id != self.node_id and peer.addr != own
        ]

    async def ask_others(self, path: str, wish: Struct, kind: type[T], *, deadline_s: float = 20.0) -> T:
        """What any other manager answers. Raises: Unreachable, RemoteRefusal."""
        problem: System = Unreachable("no other manager is known")
        context = await self.client_context()
        for peer in self.others:
            try:
                return await ask(peer.addr, path, wish, kind, context, deadline_s=deadline_s)
            except Unreachable as error:
                problem = error
        raise problem
