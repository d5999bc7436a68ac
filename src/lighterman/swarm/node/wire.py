"""What nodes ask of managers outside of a session: JSON over mutual TLS, on the same port."""

import hashlib
import ssl
from typing import TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from lighterman.errdefs import System
from lighterman.swarm.ca.certificates import MANAGER_NAME
from lighterman.swarm.session import Peer
from lighterman.swarm.store.keyring import DataKey

ROOT_PATH = "/v1/ca/root"
ISSUE_PATH = "/v1/ca/issue"
JOIN_PATH = "/v1/managers/join"
READY_PATH = "/v1/managers/ready"
LEAVE_PATH = "/v1/managers/leave"
KEYS_PATH = "/v1/managers/keys"
CALL_PATH = "/v1/managers/call"
_CONNECT_S = 5.0
_ANSWER_S = 20.0
T = TypeVar("T")


class RootAnswer(Struct, frozen=True):
    """The root certificates of the swarm; whoever asks compares them with his token."""

    root: str


class IssueWish(Struct, frozen=True, omit_defaults=True):
    """A certificate is wanted, by a token or in place of the one that is shown."""

    request: str
    """PEM."""
    token: str = ""
    availability: str = ""


class IssueAnswer(Struct, frozen=True, omit_defaults=True):
    node_id: str
    cluster_id: str
    role: str
    certificate: str
    root: str
    managers: tuple[Peer, ...]
    seen: str = ""
    """The address that the request came from."""


class ManagerWish(Struct, frozen=True, omit_defaults=True):
    """A node that shall be a manager wants into the cluster of etcd."""

    request: str
    """For its peer certificate, PEM."""
    peer_url: str
    addresses: tuple[str, ...]


class ManagerAnswer(Struct, frozen=True, omit_defaults=True):
    """Everything that makes a manager."""

    member_id: int
    cluster: tuple[tuple[str, str], ...]
    """(name, peer URL) of all members."""
    peer_certificate: str
    peer_root: str
    data_keys: tuple[DataKey, ...]
    unlock_key: bytes = b""


class MemberWish(Struct, frozen=True):
    member_id: int


class KeysWish(Struct, frozen=True, omit_defaults=True):
    """Data keys that a manager is to keep; with none it is only asked for those that it has."""

    data_keys: tuple[DataKey, ...] = ()


class KeysAnswer(Struct, frozen=True):
    """All data keys that a manager has, on its disk."""

    data_keys: tuple[DataKey, ...]


class CallWish(Struct, frozen=True):
    """A manager calls a node that another one is connected with: that one is to let it know."""

    node_id: str
    call_id: str
    addr: str


class RemoteRefusal(System):
    """What a manager has answered to this node, in its own words."""


class Unreachable(System):
    """A manager that does not answer."""


class Done(Struct, frozen=True):
    """There is nothing to tell."""


def client_context(root: str, certificate: str = "", key: str = "") -> ssl.SSLContext:
    """TLS that trusts `root` only and shows the certificate at these paths, if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=root)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


async def fetch_root(addr: str, digest: str) -> str:
    """The root certificates of the manager at host:port, believed only because their digest is known.

    Raises: Unreachable, System when they are not those that the token names.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    root = (await ask(addr, ROOT_PATH, Done(), RootAnswer, context)).root
    if hashlib.sha256(root.encode()).hexdigest() != digest:
        raise System(f"remote CA does not match fingerprint. Expected: {digest}")
    return root


def reason(error: Exception) -> str:
    """Why a manager cannot be reached, in few words."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return (error.strerror or str(error.os_error)).lower()
    return str(error) or "no answer"


async def ask(
    addr: str,
    path: str,
    wish: Struct,
    kind: type[T],
    context: ssl.SSLContext,
    *,
    deadline_s: float = _ANSWER_S,
) -> T:
    """What the manager at host:port answers.

    Raises: Unreachable; RemoteRefusal with the manager's text.
    """
    timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=_CONNECT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                f"https://{addr}{path}",
                data=msgspec.json.encode(wish),
                ssl=context,
                server_hostname=MANAGER_NAME if context.check_hostname else None,
            ) as answer,
        ):
            body = await answer.read()
            if answer.status != 200:
                raise RemoteRefusal(body.decode(errors="replace"))
            return msgspec.json.decode(body, type=kind)
    except (OSError, TimeoutError, aiohttp.ClientError) as error:
        raise Unreachable(f"{addr}: {reason(error)}") from error
    except msgspec.MsgspecError as error:
        raise System(f"{addr} answers in another language: {error}") from error
