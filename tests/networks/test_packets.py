"""Packets through real links and rules, on a host of the test's own (root)."""

import asyncio
import io
import logging
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.networks import private_host

from lighterman.db import Database
from lighterman.errdefs import System
from lighterman.events import Events
from lighterman.lib.filters import Filters
from lighterman.linux import netns
from lighterman.linux.netlink import Netlink, delete_link
from lighterman.linux.nft import Nft, NftMonitor
from lighterman.networks import EndpointWish, NetworkConfig, Networks, PortWish, Sandbox, SandboxWish

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]
CONFIG = NetworkConfig(bridge_name="lmtest0", bip="10.233.0.1/24")
BRIDGE = (EndpointWish("bridge"),)


@asynccontextmanager
async def opened(
    root: Path, config: NetworkConfig = CONFIG, running: dict[str, int] | None = None
) -> AsyncIterator[Networks]:
    db = Database(root / "state.db")
    events = Events(db)
    networks = await Networks.open(db=db, events=events, exec_root=root, config=config)
    await networks.reconcile(running or {})
    try:
        yield networks
    finally:
        await networks.close()
        db.close()


async def started(networks: Networks, number: int, *ports: PortWish) -> Sandbox:
    sandbox = networks.reserve(SandboxWish(f"{number:064x}"[::-1], f"c{number}", BRIDGE, ports))
    await networks.connect(sandbox)
    return sandbox


def listen(address: str, port: int, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family)
    sock.bind((address, port))
    sock.listen()
    sock.settimeout(3)
    return sock


def listening_in(key: str, port: int) -> socket.socket:
    return netns.run_in(key, partial(listen, "0.0.0.0", port))


def dial(address: str, port: int, timeout_s: float = 3.0) -> socket.socket:
    return socket.create_connection((address, port), timeout=timeout_s)


def greeting(listener: socket.socket, call: Callable[[], socket.socket]) -> str:
    """The client's address as the server sees it, once both have shaken hands."""
    with call() as client:
        server, address = listener.accept()
        with server:
            server.sendall(b"hello")
            assert client.recv(5) == b"hello"
        return str(address[0])


def unpin_all(root: Path) -> None:
    """Let go of what a test that failed half-way has pinned."""
    for entry in root.rglob("*"):
        if netns.is_pinned(str(entry)):
            netns.unpin(str(entry))


def on_own_host(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        try:
            private_host.run(partial(test, tmp_path))
        finally:
            unpin_all(tmp_path)

    run.__name__ = test.__name__
    return run


@on_own_host
async def test_two_sandboxes_reach_each_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        one, two = await started(networks, 1), await started(networks, 2)
        with listening_in(one.key, 80) as server:
            call = partial(netns.run_in, two.key, partial(dial, one.endpoints[0].ipv4, 80))
            assert await asyncio.to_thread(greeting, server, call) == two.endpoints[0].ipv4
        await networks.disconnect(one.id)
        await networks.disconnect(two.id)


@on_own_host
async def test_a_sandbox_reaches_the_outside_with_the_hosts_address(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1)
        with listening_in(str(outside), 80) as server:
            call = partial(netns.run_in, sandbox.key, partial(dial, "192.0.2.9", 80))
            assert await asyncio.to_thread(greeting, server, call) == "192.0.2.1"
        await networks.disconnect(sandbox.id)
    netns.delete(str(outside))


@on_own_host
async def test_a_published_port_answers_everywhere_with_the_true_source(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1, PortWish(80, "tcp", "", 8080, 8080))
        other = await started(networks, 2)
        with listening_in(sandbox.key, 80) as server:

            async def ask(call: Callable[[], socket.socket]) -> str:
                return await asyncio.to_thread(greeting, server, call)

            far = partial(netns.run_in, str(outside))
            assert await ask(partial(far, partial(dial, "192.0.2.1", 8080))) == "192.0.2.9"
            assert await ask(partial(dial, "127.0.0.1", 8080)) == "10.233.0.1"
            assert await ask(partial(dial, "192.0.2.1", 8080)) == "192.0.2.1"
            assert await ask(partial(dial, "::1", 8080)) == "10.233.0.1"
            # a neighbour by the host's address, and the container itself: hairpin
            assert await ask(partial(netns.run_in, other.key, partial(dial, "192.0.2.1", 8080)))
            assert await ask(partial(netns.run_in, sandbox.key, partial(dial, "192.0.2.1", 8080)))
        await networks.disconnect(sandbox.id)
        with pytest.raises(ConnectionRefusedError):
            dial("127.0.0.1", 8080)
        await networks.disconnect(other.id)
    netns.delete(str(outside))


@on_own_host
async def test_a_port_published_on_loopback_is_for_the_host_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    private_host.make_outside(outside)
    private_host.route_through(outside, "10.233.0.0/24", "192.0.2.1")
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1, PortWish(80, "tcp", "127.0.0.1", 8080, 8080))
        other = await started(networks, 2)
        with listening_in(sandbox.key, 80) as server:
            assert await asyncio.to_thread(greeting, server, partial(dial, "127.0.0.1", 8080))
            for key, address, port in (
                (str(outside), "192.0.2.1", 8080),
                (other.key, "10.233.0.1", 8080),
                (str(outside), sandbox.endpoints[0].ipv4, 80),  # its own address is not for neighbours
            ):
                with pytest.raises(OSError):  # noqa: PT011 - refused or silent, both are right
                    await asyncio.to_thread(netns.run_in, key, partial(dial, address, port, 0.5))
        await networks.disconnect(sandbox.id)
        await networks.disconnect(other.id)
    netns.delete(str(outside))


@on_own_host
async def test_a_neighbour_that_routes_loopback_to_us_gets_no_answer(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        neighbour = await started(networks, 1)

        def dial_loopback() -> socket.socket:
            os.system("sysctl -qw net.ipv4.conf.eth0.route_localnet=1; ip addr del 127.0.0.1/8 dev lo")
            os.system("ip route add 127.0.0.1/32 via 10.233.0.1 dev eth0; ip route flush table local")
            return dial("127.0.0.1", 9000, 0.5)

        with listen("127.0.0.1", 9000), pytest.raises(OSError):  # noqa: PT011
            await asyncio.to_thread(netns.run_in, neighbour.key, dial_loopback)
        await networks.disconnect(neighbour.id)


def bind_udp(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    sock.settimeout(3)
    return sock


def asked(client: socket.socket, server: socket.socket) -> bytes:
    """What the client hears after the server has answered its question."""
    client.settimeout(3)
    client.send(b"who")
    data, source = server.recvfrom(100)
    server.sendto(data + b" is there", source)
    return client.recv(100)


@on_own_host
async def test_udp_is_published_too_and_relayed_from_ipv6(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1, PortWish(53, "udp", "", 5353, 5353))
        with netns.run_in(sandbox.key, partial(bind_udp, 53)) as server:
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.connect((address, 5353))
                    assert await asyncio.to_thread(asked, client, server) == b"who is there"
        await networks.disconnect(sandbox.id)


@on_own_host
async def test_a_udp_client_that_goes_on_finds_the_next_container(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", 5353))
            for number in (1, 2):
                sandbox = await started(networks, number, PortWish(53, "udp", "", 5353, 5353))
                with netns.run_in(sandbox.key, partial(bind_udp, 53)) as server:
                    assert await asyncio.to_thread(asked, client, server) == b"who is there"
                await networks.disconnect(sandbox.id)


@on_own_host
async def test_a_port_is_refused_in_dockers_words(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        first = await started(networks, 1, PortWish(80, "tcp", "", 48080, 48080))
        prefix = r"driver failed programming external connectivity on endpoint c2 \([0-9a-f]{64}\): "
        with pytest.raises(
            System, match=prefix + re.escape("Bind for 0.0.0.0:48080 failed: port is already allocated")
        ):
            await started(networks, 2, PortWish(80, "tcp", "", 48080, 48080))
        told = "Error starting userland proxy: listen tcp4 0.0.0.0:48081: bind: address already in use"
        with listen("127.0.0.1", 48081), pytest.raises(System, match=prefix + re.escape(told)):
            await started(networks, 2, PortWish(80, "tcp", "", 48081, 48081))
        second = await started(networks, 2)  # what was refused left nothing
        assert second.endpoints[0].ipv4 == "10.233.0.3"
        await networks.disconnect(first.id)
        await networks.disconnect(second.id)


@on_own_host
async def test_a_container_that_restarts_has_its_port_again_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        for _ in range(5):
            sandbox = await started(networks, 1, PortWish(80, "tcp", "", 8080, 8080))
            await networks.disconnect(sandbox.id)


@on_own_host
async def test_the_relay_passes_on_that_one_side_has_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1, PortWish(80, "tcp", "", 8080, 8080))

        def talk() -> bytes:
            with dial("::1", 8080) as client:
                client.settimeout(3)
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                server, _address = listener.accept()
                with server:
                    heard = b"".join(iter(lambda: server.recv(100), b""))
                    server.sendall(heard + b" answered")
                return b"".join(iter(lambda: client.recv(100), b""))

        with listening_in(sandbox.key, 80) as listener:
            assert await asyncio.to_thread(talk) == b"question answered"
        await networks.disconnect(sandbox.id)


@on_own_host
async def test_fifty_at_once_leave_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:

        async def live(number: int) -> str:
            sandbox = await started(networks, number, PortWish(80, "tcp"))
            await networks.disconnect(sandbox.id)
            await networks.disconnect(sandbox.id)
            return sandbox.endpoints[0].ipv4

        addresses = await asyncio.gather(*(live(number) for number in range(50)))
        assert len(set(addresses)) == 50
        assert networks.inspect("bridge").containers == {}
    assert leftovers(tmp_path) == []
    with Netlink() as netlink:
        # the kernel takes the last veths away in its own time; deleting the bridge waits for its lock
        netlink.batch([delete_link(CONFIG.bridge_name)])
        assert [link.name for link in netlink.links() if link.kind == "bridge"] == []


@on_own_host
async def test_after_a_kill_what_runs_is_kept_and_the_rest_goes(tmp_path: Path) -> None:
    killed = Database(tmp_path / "state.db")
    before = await Networks.open(db=killed, events=Events(killed), exec_root=tmp_path, config=CONFIG)
    await before.reconcile({})
    kept = await started(before, 1, PortWish(80, "tcp", "", 8080, 8080))
    await started(before, 2, PortWish(80, "tcp", "", 8081, 8081))
    with listening_in(kept.key, 80) as server:
        await before.close()  # as in a kill the kernel keeps links, pins and rules, and closes sockets
        killed.close()
        async with opened(tmp_path, running={kept.id: os.getpid()}) as after:
            assert after.sandbox(kept.id) == kept
            assert list(after.inspect("bridge").containers or ()) == [kept.id]
            assert await asyncio.to_thread(greeting, server, partial(dial, "127.0.0.1", 8080))
            with pytest.raises(ConnectionRefusedError):
                dial("127.0.0.1", 8081)
            with pytest.raises(System, match="port is already allocated"):
                await started(after, 3, PortWish(80, "tcp", "", 8080, 8080))
            assert leftovers(tmp_path) == [kept.id[:12], f"{kept.id}.json"]
            await after.disconnect(kept.id)
        assert leftovers(tmp_path) == []


@pytest.mark.parametrize("lines", [1, 2, 3, 5, 9, 14])
def test_a_kill_at_any_moment_leaves_nothing_after_the_next_start(tmp_path: Path, lines: int) -> None:
    async def test() -> None:
        churn = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).parent / "churn.py"),
            str(tmp_path),
            CONFIG.bridge_name,
            CONFIG.bip,
            stdout=asyncio.subprocess.PIPE,
        )
        assert churn.stdout is not None
        for _ in range(lines):
            await churn.stdout.readline()
        churn.kill()
        await churn.wait()
        async with opened(tmp_path) as networks:
            assert leftovers(tmp_path) == []
            custom = networks.list(Filters({"type": ("custom",)}))
            with Netlink() as netlink:
                links = netlink.links()
            assert [link.name for link in links if link.kind == "veth"] == []
            wanted = {CONFIG.bridge_name, *(f"br-{network.id[:12]}" for network in custom)}
            assert {link.name for link in links if link.kind == "bridge"} == wanted
            nft = Nft()
            table = nft.run(f"list table inet {CONFIG.table}")
            nft.close()
            maps = [entry["map"] for entry in table if "map" in entry]
            assert [published for published in maps if "elem" in published] == []

    private_host.run(test)


@on_own_host
async def test_a_flushed_table_comes_back_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1, PortWish(80, "tcp", "", 8080, 8080))
        nft, monitor = Nft(), NftMonitor()
        with listening_in(sandbox.key, 80) as server:
            nft.run("flush ruleset")
            assert await asyncio.to_thread(greeting, server, partial(dial, "127.0.0.1", 8080))  # by the relay
            async with asyncio.timeout(5):
                while CONFIG.table not in await heard(monitor) or not tables(nft):
                    pass  # the first change heard is the flush itself
            assert "8080" in str(nft.run(f"list table inet {CONFIG.table}"))
        nft.close()
        monitor.close()
        await networks.disconnect(sandbox.id)


@on_own_host
async def test_a_foreign_chain_that_drops_is_told(tmp_path: Path) -> None:
    nft, told = Nft(), io.StringIO()
    nft.run("table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }")
    nft.close()
    listener = logging.StreamHandler(told)
    logging.getLogger("lighterman.networks").addHandler(listener)
    async with opened(tmp_path):
        pass
    logging.getLogger("lighterman.networks").removeHandler(listener)
    assert "chain FORWARD of table ip filter drops" in told.getvalue()


async def heard(monitor: NftMonitor) -> set[str]:
    """The tables that the next transaction on the host touches."""
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(monitor.socket, readable.set)
    await readable.wait()
    asyncio.get_running_loop().remove_reader(monitor.socket)
    return {table for _thread, tables in monitor.changes() for table in tables}


def tables(nft: Nft) -> list[str]:
    return [entry["table"]["name"] for entry in nft.run("list tables") if "table" in entry]


@on_own_host
async def test_default_networks_keep_their_ids(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        before = [network.id for network in networks.list(Filters())]
        assert [network.name for network in networks.list(Filters())] == ["none", "host", "bridge"]
    async with opened(tmp_path) as networks:
        assert [network.id for network in networks.list(Filters())] == before


@on_own_host
async def test_a_new_name_is_shown_and_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        sandbox = await started(networks, 1)
        await networks.rename(sandbox.id, "other")
        await networks.rename("f" * 64, "nobody")
        assert (networks.inspect("bridge").containers or {})[sandbox.id].name == "other"
    async with opened(tmp_path, running={sandbox.id: os.getpid()}) as networks:
        assert (networks.inspect("bridge").containers or {})[sandbox.id].name == "other"
        await networks.disconnect(sandbox.id)


@on_own_host
async def test_none_has_a_loopback_and_host_has_no_namespace(tmp_path: Path) -> None:
    async with opened(tmp_path) as networks:
        none = networks.reserve(SandboxWish("a" * 64, "a", (EndpointWish("none"),)))
        await networks.connect(none)
        host = networks.reserve(SandboxWish("b" * 64, "b", (EndpointWish("host"),)))
        await networks.connect(host)
        assert host.key == ""

        def up() -> list[str]:
            with Netlink() as netlink:
                return [link.name for link in netlink.links() if link.up]

        assert netns.run_in(none.key, up) == ["lo"]
        await networks.disconnect(none.id)
        await networks.disconnect(host.id)


@on_own_host
async def test_without_icc_neighbours_do_not_hear_each_other(tmp_path: Path) -> None:
    config = NetworkConfig(bridge_name="lmtest0", bip="10.233.0.1/24", icc=False)
    async with opened(tmp_path, config) as networks:
        one, two = await started(networks, 1), await started(networks, 2)
        with listening_in(one.key, 80), pytest.raises(OSError):  # noqa: PT011
            await asyncio.to_thread(netns.run_in, two.key, partial(dial, one.endpoints[0].ipv4, 80, 0.5))
        await networks.disconnect(one.id)
        await networks.disconnect(two.id)


def leftovers(root: Path) -> list[str]:
    return sorted(entry.name for place in ("netns", "sandboxes") for entry in (root / place).iterdir())
