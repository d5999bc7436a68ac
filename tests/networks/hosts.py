"""What the packet tests of this folder share: a room on a host of its own, sockets in namespaces."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tests.networks import private_host

from lighterman.apitypes import network as wire
from lighterman.db import Database
from lighterman.events import Events
from lighterman.linux import netns
from lighterman.networks import EndpointWish, NetworkConfig, Networks, PortWish, Sandbox, SandboxWish

CONFIG = NetworkConfig(bridge_name="lmtest0", bip="10.233.0.1/24")


@asynccontextmanager
async def opened(
    root: Path, config: NetworkConfig = CONFIG, running: dict[str, int] | None = None
) -> AsyncIterator[Networks]:
    """The room, reconciled; closed at the end."""
    db = Database(root / "state.db")
    networks = await Networks.open(db=db, events=Events(db), exec_root=root, config=config)
    await networks.reconcile(running or {})
    try:
        yield networks
    finally:
        await networks.close()
        db.close()


async def network(
    networks: Networks,
    name: str,
    *pools: wire.IPAMConfig,
    driver: str = "",
    internal: bool = False,
    ipv6: bool = False,
    options: dict[str, str] | None = None,
) -> str:
    """The id of a new network."""
    made = await networks.create(
        wire.NetworkCreateBody(
            name,
            driver=driver,
            internal=internal,
            enable_ipv6=ipv6,
            options=options,
            ipam=wire.IPAM(config=list(pools)),
        )
    )
    return made.id


async def box(
    networks: Networks,
    name: str,
    *wishes: EndpointWish,
    ports: tuple[PortWish, ...] = (),
    dns: tuple[str, ...] = (),
) -> Sandbox:
    """A connected sandbox."""
    sandbox = networks.reserve(SandboxWish(secrets.token_hex(32), name, wishes, ports, dns))
    await networks.connect(sandbox)
    return sandbox


def listening(key: str, port: int, family: int = socket.AF_INET) -> socket.socket:
    """A TCP socket that listens in a namespace."""

    def listen() -> socket.socket:
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        sock.listen(4096)  # nobody takes what is only tried
        sock.settimeout(3)
        return sock

    return netns.run_in(key, listen)


def datagrams(key: str, address: str = "", port: int = 0) -> socket.socket:
    """A bound UDP socket in a namespace."""

    def bind() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        sock.settimeout(6)
        return sock

    return netns.run_in(key, bind)


def reaches(key: str, address: str, port: int, timeout_s: float = 0.4) -> bool:
    """Whether a TCP connection from a namespace (a path) comes about."""

    def dial() -> bool:
        try:
            socket.create_connection((address, port), timeout=timeout_s).close()
        except OSError:
            return False
        return True

    return netns.run_in(key, dial)


def on_own_host(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    """The test on a loop of a host of its own; what it pins is unpinned."""

    def run(tmp_path: Path) -> None:
        try:
            private_host.run(partial(test, tmp_path))
        finally:
            for entry in tmp_path.rglob("*"):
                if netns.is_pinned(str(entry)):
                    netns.unpin(str(entry))

    run.__name__ = test.__name__
    return run


async def in_thread(call: Callable[[], object]) -> object:
    """`call()` beside the loop, which goes on serving."""
    return await asyncio.to_thread(call)
