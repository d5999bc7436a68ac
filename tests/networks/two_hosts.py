"""Two hosts joined by a wire, each with a loop in a thread of its own: for what happens between engines."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from tests.networks.hosts import CONFIG, opened

from lighterman.linux import netns
from lighterman.networks import DataPath, MeshPort, NetworkRow, Networks, Picture, Pool

T = TypeVar("T")
NETWORK_ID = "0ver1ay0ver1ay0ver1ay0ver"


class Host:
    """One of them. `netns` is a path of its namespace, `networks` the room on it once it is opened."""

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.netns = root / "host"
        root.mkdir()
        netns.create(str(self.netns))
        self.networks: Networks
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        fd = netns.open_pinned(str(self.netns))
        netns.enter(fd)
        os.close(fd)
        self._loop.run_forever()

    def do(self, work: Callable[[Networks], Coroutine[Any, Any, T]]) -> T:
        """The result of `work(networks)` on this host."""
        return self.run(work(self.networks))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work` on this host."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def open(self, running: dict[str, int] | None = None) -> None:
        """Open the room, as an engine does at its start."""

        async def enter() -> None:
            self._opened = opened(self.root, CONFIG, running)
            self.networks = await self._opened.__aenter__()
            await self.networks.ensure_gateway_bridge()

        self.run(enter())

    def close(self) -> None:
        """Close the room; what is in the kernel stays."""
        self.run(self._opened.__aexit__(None, None, None))

    def end(self) -> None:
        """Take everything away."""
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for entry in self.root.rglob("*"):
            if netns.is_pinned(str(entry)):
                netns.unpin(str(entry))

    def know(self, *, ingress: bool = False, address: str = "") -> None:
        """Take part in the network of the tests."""
        row = NetworkRow(
            id=NETWORK_ID,
            name="ingress" if ingress else "net1",
            driver="overlay",
            created_ns=1,
            link="br-" + NETWORK_ID[:12],
            pools=(Pool("10.9.0.0/24", "10.9.0.1"),),
            scope="swarm",
            ingress=ingress,
            vni=4097,
        )
        self.do(lambda networks: networks.overlays.know(row))
        if address:
            self.do(lambda networks: networks.overlays.open_ingress(NETWORK_ID, address))

    def tell(self, hosts: dict[str, str], mesh: Sequence[MeshPort] = (), **picture: Any) -> None:
        """Tell of the network of the tests."""
        seen = Picture(DataPath(self.address), hosts, **picture)
        self.do(lambda networks: networks.overlays.tell(NETWORK_ID, seen, mesh))


def joined(root: Path) -> tuple[Host, Host]:
    """Two hosts, 192.0.2.1 and 192.0.2.2, with their rooms open."""
    one, two = Host(root / "1", "192.0.2.1"), Host(root / "2", "192.0.2.2")
    _in(one, f"ip link add wan0 type veth peer name wan0 netns {two.netns}")
    for host in (one, two):
        _in(host, "ip link set lo up")
        _in(host, f"ip addr add {host.address}/24 dev wan0")
        _in(host, "ip link set wan0 up")
        host.open()
    return one, two


def _in(host: Host, command: str) -> None:
    subprocess.run(["nsenter", f"--net={host.netns}", *command.split()], check=True)
