"""The port that nodes come to: 2377, mutual TLS, where a certificate may be missing.

A node that joins has none yet, so TLS asks for one and each path checks what it needs: nothing for the
root, a token or a certificate for a certificate, a manager's certificate for what makes managers, a node's
for a session. This listener is apart from the engine's API: nothing of that is served here, whatever
certificate one shows.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from lighterman.errdefs import EngineError, Forbidden, InvalidParameter, NotFound
from lighterman.swarm.ca.certificates import Identity, identity_of
from lighterman.swarm.call import CallChannel
from lighterman.swarm.errors import NotReady
from lighterman.swarm.node.channels import (
    CALLS_PATH,
    FRAME_LIMIT_BYTES,
    LOGS_PATH,
    SESSION_PATH,
    CallSocket,
    SocketChannel,
)
from lighterman.swarm.node.wire import (
    CALL_PATH,
    ISSUE_PATH,
    JOIN_PATH,
    KEYS_PATH,
    LEAVE_PATH,
    READY_PATH,
    ROOT_PATH,
    CallWish,
    Done,
    IssueAnswer,
    IssueWish,
    KeysAnswer,
    KeysWish,
    ManagerAnswer,
    ManagerWish,
    MemberWish,
    RootAnswer,
)
from lighterman.swarm.session import (
    AgentChannel,
    ManagerChannel,
    decode_from_agent,
    decode_from_manager,
    encode,
)

BODY_LIMIT_BYTES = 1 << 20
_PARTING_S = 1.0
"""For nodes to say that they have heard of the end: some may be dead."""
log = logging.getLogger(__name__)


class Desk(Protocol):
    """Who answers: the manager. `who` is None for one who shows no certificate."""

    cluster_id: str

    def root(self) -> RootAnswer: ...
    async def issue(self, wish: IssueWish, who: Identity | None, addr: str) -> IssueAnswer: ...
    async def take_in(self, wish: ManagerWish, who: Identity) -> ManagerAnswer: ...
    async def promote(self, wish: MemberWish, who: Identity) -> Done: ...
    async def let_go(self, wish: MemberWish, who: Identity) -> Done: ...
    async def share_keys(self, wish: KeysWish, who: Identity) -> KeysAnswer: ...
    async def session(self, channel: ManagerChannel, who: Identity, addr: str) -> None: ...
    async def logs(self, channel: AgentChannel) -> None: ...
    async def pass_call(self, wish: CallWish, who: Identity) -> Done: ...
    def check_call(self, call_id: str, who: Identity) -> None: ...
    async def take_call(self, call_id: str, channel: CallChannel) -> None: ...


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(512)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def server_context(root: str, certificate: str, key: str) -> ssl.SSLContext:
    """TLS that shows the certificate at these paths and checks the other's against `root` if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=root)
    context.load_cert_chain(certificate, key)
    return context


class Listener:
    """The server on one socket; its TLS can be changed while it runs."""

    def __init__(self, listener: socket.socket) -> None:
        self._socket = listener
        self._desk: Desk | None = None
        self._server = web.Server(self._answer, access_log=None)
        self._accepting: asyncio.Server | None = None
        self._sessions: set[web.WebSocketResponse] = set()

    async def serve(self, context: ssl.SSLContext, desk: Desk) -> None:
        """Accept connections by this TLS from now on, and let `desk` answer; those that stand go on."""
        self._desk = desk
        former, loop = self._accepting, asyncio.get_running_loop()
        self._accepting = await loop.create_server(self._server, sock=self._socket.dup(), ssl=context)
        if former is not None:
            former.close()

    async def close(self) -> None:
        """Accept no more, and end what stands."""
        if self._accepting is not None:
            self._accepting.close()
        self._socket.close()
        if partings := [asyncio.ensure_future(session.close()) for session in self._sessions]:
            _, silent = await asyncio.wait(partings, timeout=_PARTING_S)
            for parting in silent:
                parting.cancel()
        await self._server.shutdown(_PARTING_S)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            desk, addr = self._desk, _comes_from(request)
            if desk is None:
                raise NotReady
            who = _who(request, desk)
            if request.path == SESSION_PATH:
                node = _node(who)
                return await self._upgraded(
                    request,
                    lambda socket: desk.session(SocketChannel(socket, encode, decode_from_agent), node, addr),
                )
            if request.path == LOGS_PATH:
                _manager(who)
                return await self._upgraded(
                    request, lambda socket: desk.logs(SocketChannel(socket, encode, decode_from_manager))
                )
            if request.path.startswith(CALLS_PATH):
                call_id = request.path.removeprefix(CALLS_PATH)
                desk.check_call(call_id, _node(who))
                return await self._upgraded(
                    request,
                    lambda socket: desk.take_call(call_id, CallSocket(socket)),
                )
            answer = await _desk_answer(request, desk, who, addr)
            return web.Response(body=msgspec.json.encode(answer), content_type="application/json")
        except (EngineError, msgspec.MsgspecError) as error:
            status = 403 if isinstance(error, Forbidden) else 404 if isinstance(error, NotFound) else 400
            return web.Response(status=status, text=str(error))
        except web.HTTPException:
            raise
        except Exception:  # the border of this listener: nobody else would hear of it
            log.exception("%s %s", request.method, request.path)
            return web.Response(status=500, text="internal error")

    async def _upgraded(
        self, request: web.BaseRequest, converse: Callable[[web.WebSocketResponse], Awaitable[None]]
    ) -> web.StreamResponse:
        """A conversation of frames, for as long as both ends want it."""
        response = web.WebSocketResponse(max_msg_size=FRAME_LIMIT_BYTES, autoping=True)
        await response.prepare(request)
        self._sessions.add(response)
        try:
            await converse(response)
        finally:
            self._sessions.discard(response)
        return response


def _who(request: web.BaseRequest, desk: Desk) -> Identity | None:
    """Whose certificate TLS has checked. Raises: Forbidden for one of another swarm, InvalidParameter."""
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    if not certificate:
        return None
    who = identity_of(certificate)
    if who.cluster_id != desk.cluster_id:
        raise Forbidden("rpc error: code = PermissionDenied desc = the certificate is of another swarm")
    return who


async def _desk_answer(request: web.BaseRequest, desk: Desk, who: Identity | None, addr: str) -> Any:
    if request.path == ROOT_PATH:
        return desk.root()
    if request.path == ISSUE_PATH:
        return await desk.issue(await _body(request, IssueWish), who, addr)
    if request.path in (JOIN_PATH, READY_PATH, LEAVE_PATH, KEYS_PATH, CALL_PATH):
        manager = _manager(who)
        if request.path == CALL_PATH:
            return await desk.pass_call(await _body(request, CallWish), manager)
        if request.path == KEYS_PATH:
            return await desk.share_keys(await _body(request, KeysWish), manager)
        if request.path == JOIN_PATH:
            return await desk.take_in(await _body(request, ManagerWish), manager)
        if request.path == READY_PATH:
            return await desk.promote(await _body(request, MemberWish), manager)
        return await desk.let_go(await _body(request, MemberWish), manager)
    raise NotFound("page not found")


async def _body(request: web.BaseRequest, kind: Any) -> Any:
    """Raises: InvalidParameter, msgspec.MsgspecError."""
    body = await request.content.read(BODY_LIMIT_BYTES + 1)
    while len(body) <= BODY_LIMIT_BYTES and not request.content.at_eof():
        body += await request.content.read(BODY_LIMIT_BYTES + 1)
    if len(body) > BODY_LIMIT_BYTES:
        raise InvalidParameter("the request is too large")
    return msgspec.json.decode(body, type=kind)


def _node(who: Identity | None) -> Identity:
    if who is None:
        raise Forbidden("rpc error: code = PermissionDenied desc = a node's certificate is necessary")
    return who


def _manager(who: Identity | None) -> Identity:
    """A stolen certificate of a worker opens nothing of the managers'."""
    if who is None or who.role != "manager":
        raise Forbidden("rpc error: code = PermissionDenied desc = a manager's certificate is necessary")
    return who


def _comes_from(request: web.BaseRequest) -> str:
    """The address of the other side, without its port."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]).removeprefix("::ffff:") if name else ""
