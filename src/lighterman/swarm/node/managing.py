"""A node's manager, as long as the node has that role: it is started, watched, started again, and ended.

A manager that breaks (etcd ends, a disk is full) is tried again with growing pauses. One whose etcd ends
since it was taken out of the cluster asks the other managers for a certificate: what role that says is
what the node is.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from lighterman.errdefs import EngineError, System
from lighterman.lib.effects import in_thread
from lighterman.swarm.ca import certificates
from lighterman.swarm.node import birth
from lighterman.swarm.node.addresses import host_addresses, split_port
from lighterman.swarm.node.credentials import Credentials
from lighterman.swarm.node.listener import Listener, bind
from lighterman.swarm.node.manager import Manager, MemberEnded, ended, peer_url
from lighterman.swarm.node.wire import (
    JOIN_PATH,
    LEAVE_PATH,
    READY_PATH,
    Done,
    ManagerAnswer,
    ManagerWish,
    MemberWish,
    RemoteRefusal,
)
from lighterman.swarm.state import Authority, Cluster, Kind

LONGEST_DELAY_S = 10.0
FIRST_DELAY_S = 0.2
_ASKS_FOR_ROLE = 10
_WRITE_AGAIN_S = 5.0
_PARTING_S = 5.0
"""For the others to take a vote back."""
_KEPT = frozenset({Kind.AUTHORITY, Kind.CLUSTER})
REMOVED = "this node was removed from the swarm"
log = logging.getLogger(__name__)


class Managing:
    """The manager that this node has, or not."""

    def __init__(self, credentials: Credentials, renew: Callable[[], Awaitable[None]]) -> None:
        """`renew` asks another manager for a certificate, and so for the role of this node."""
        self._credentials = credentials
        self._renew = renew
        self._manager: Manager | None = None
        self._running: asyncio.Task[None] | None = None
        self._listener: Listener | None = None
        self.error = ""
        """Why the manager does not work; "" while it does."""
        self.settled = asyncio.Event()
        """It is known whom this node's agent turns to: the manager is up, or the node is none any more."""

    @property
    def manager(self) -> Manager | None:
        """The one that is up."""
        return self._manager if self._manager is not None and self._manager.up.is_set() else None

    def bind(self) -> None:
        """Take the port that nodes come to. Raises: System in dockerd's words."""
        if self._listener is not None:
            return
        listen = self._credentials.membership.listen
        host, port = split_port(listen)
        try:
            self._listener = Listener(bind(host, int(port)))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise System(
                f"manager stopped: failed to listen on remote API address: listen tcp {listen}: bind: "
                f"{reason}"
            ) from error

    async def start(self, *, join: ManagerAnswer | None = None, force_new_cluster: bool = False) -> Manager:
        """Start the manager; returns when it is up. Raises: MemberEnded, System, OSError."""
        self.bind()
        assert self._listener is not None
        manager = Manager(
            self._credentials.engine,
            self._credentials.membership,
            self._credentials.keys,
            self._listener,
            client_context=self._credentials.client_context,
            ask_for_keys=self._credentials.missing_data_keys,
            keep_keys=self._credentials.keep_data_keys,
            cluster=join.cluster if join else (),
            joins=join is not None,
            force_new_cluster=force_new_cluster,
        )
        running = asyncio.create_task(manager.run(await self._credentials.server_context()))
        up = asyncio.create_task(manager.up.wait())
        voting = asyncio.create_task(self._ask_for_vote(join))
        try:
            await asyncio.wait({running, up}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await ended(running)
            raise
        finally:
            up.cancel()
            voting.cancel()
        if running.done():
            running.result()
        self._manager, self._running = manager, running
        self.settled.set()
        return manager

    async def become(self) -> Manager:
        """From a node with a manager's certificate to a manager. Raises: System, OSError."""
        self.bind()
        credentials = self._credentials
        await in_thread(birth.erase_member, credentials.engine)
        request, key = certificates.new_request()
        host = await in_thread(host_addresses)
        addresses = {str(each.address) for each in host if not each.address.is_link_local}
        wish = ManagerWish(request, peer_url(credentials.membership), tuple(sorted(addresses)))
        answer = await credentials.ask_others(JOIN_PATH, wish, ManagerAnswer)
        credentials.unlock_key = answer.unlock_key
        credentials.keys = replace(
            credentials.keys,
            data_keys=answer.data_keys,
            peer_certificate=answer.peer_certificate,
            peer_key=key,
            peer_root=answer.peer_root,
        )
        manager = await self.start(join=answer)
        await credentials.save()
        log.info("op=change-role node=%s role=manager", credentials.node_id)
        return manager

    async def _ask_for_vote(self, join: ManagerAnswer | None) -> None:
        """A member without a vote hears nothing: a manager that has one gives it, when it has caught up."""
        if join is not None:
            with contextlib.suppress(System):
                await self._credentials.ask_others(READY_PATH, MemberWish(join.member_id), Done)

    async def run(self) -> None:
        """Be a manager for as long as the node has the role, and again when it breaks."""
        delay_s = FIRST_DELAY_S
        while True:
            try:
                manager = self._manager
                if manager is None:
                    known = bool(self._credentials.keys.data_keys)
                    manager = await (self.start() if known else self.become())
                self.error, delay_s = "", FIRST_DELAY_S
                await self._watch(manager)
            except Exception as error:  # the supervisor of the manager: nobody else would start it again
                self.error = str(error) or type(error).__name__
                known = isinstance(error, EngineError | OSError)
                log.warning("manager: %s", self.error, exc_info=None if known else error)
                if isinstance(error, MemberEnded | RemoteRefusal) and await self._is_demoted():
                    return
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    async def _watch(self, manager: Manager) -> None:
        """Wait until the manager breaks. Raises what it broke of."""
        assert self._running is not None
        keeping = asyncio.create_task(self._keep_books(manager))
        try:
            await asyncio.wait({self._running})
        finally:
            await ended(keeping)
        self._manager = None
        self.settled.clear()
        self._running.result()

    async def _is_demoted(self) -> bool:
        """Whether the others say that this node is no manager any more; if so it is none from now on."""
        for _ in range(_ASKS_FOR_ROLE):
            try:
                await self._renew()
            except RemoteRefusal as refusal:
                if "not found" in str(refusal):
                    self.error = REMOVED
                    return True
            except (EngineError, OSError):  # nobody answers, or what he says cannot be written down
                return False
            if not self._credentials.is_manager:
                self.error = ""
                log.info("op=change-role node=%s role=worker", self._credentials.node_id)
                await self._close_listener()
                await in_thread(birth.erase_member, self._credentials.engine)
                self.settled.set()
                return True
            await asyncio.sleep(0.5)
        return False

    async def _keep_books(self, manager: Manager) -> None:
        """Seal the keys as the swarm wishes, and note how etcd is to be started, whenever that changes."""
        state = manager.store.state
        with manager.store.changes() as changes:
            while True:
                try:
                    await self._keep(state.authority, state.cluster)
                except OSError as error:  # a full disk: what is known must be written down all the same
                    log.error("the swarm's books cannot be written: %s", error)
                    await asyncio.sleep(_WRITE_AGAIN_S)
                    continue
                while not any(kind in _KEPT for kind, _ in await changes.next()):
                    pass

    async def _keep(self, authority: Authority | None, cluster: Cluster | None) -> None:
        """Raises: OSError; what could not be written is so next time."""
        credentials = self._credentials
        unlock_key, raft = credentials.unlock_key, credentials.membership.raft
        wanted_key = authority.unlock_key if authority is not None else unlock_key
        wanted_raft = cluster.spec.raft if cluster is not None else raft
        if (wanted_key, wanted_raft) == (unlock_key, raft):
            return
        credentials.unlock_key = wanted_key
        credentials.membership = replace(credentials.membership, raft=wanted_raft)
        try:
            await credentials.save()
        except OSError:
            credentials.unlock_key = unlock_key
            credentials.membership = replace(credentials.membership, raft=raft)
            raise

    async def show_certificate(self) -> None:
        """New connections see the certificate that the node has now."""
        if self.manager is not None and self._listener is not None:
            await self._listener.serve(await self._credentials.server_context(), self.manager)

    async def give_vote_back(self) -> None:
        """Take this node's vote out, so that the others are not one short; what cannot be is let be."""
        if self.manager is not None and len(self.manager.store.managers) > 1:
            with contextlib.suppress(EngineError, OSError):
                async with asyncio.timeout(_PARTING_S):
                    await self._credentials.ask_others(LEAVE_PATH, MemberWish(0), Done)

    async def stop(self) -> None:
        """End the manager, and let go of its port."""
        if self._running is not None:
            await ended(self._running)
        self._manager = self._running = None
        self.settled.clear()
        await self._close_listener()

    async def _close_listener(self) -> None:
        if self._listener is not None:
            await self._listener.close()
            self._listener = None
