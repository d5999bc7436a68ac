"""A host of the test's own: an event loop in a thread that lives in a new network namespace.

Threads inherit the namespace of the one that starts them, so everything a room does from that loop
(links, rules, sysctls, ports) stays in there and vanishes with it. The machine's own network is untouched.
"""

import asyncio
import os
import subprocess
import threading
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Interface, IPv4Network, ip_address
from pathlib import Path

import uvloop

from lighterman.linux import netns
from lighterman.linux.netlink import Netlink, add_address, add_route, set_up


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run `test()` on a loop of a new host with nothing but its loopback."""
    errors: list[BaseException] = []

    def body() -> None:
        fd = netns.new()
        try:
            netns.enter(fd)
            with Netlink() as netlink:
                netlink.batch([set_up("lo")])
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the daemon runs
                runner.run(_awaited(test))
        except BaseException as error:
            errors.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


async def _awaited(test: Callable[[], Awaitable[None]]) -> None:
    await test()


def make_outside(path: Path, *, host: str = "192.0.2.1/24", outside: str = "192.0.2.9/24") -> None:
    """A namespace at `path` joined to this host by a wire: a neighbour on the host's link `wan0`."""
    netns.create(str(path))
    subprocess.run(
        ["ip", "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", str(path)], check=True
    )
    with Netlink() as netlink:
        index = {link.name: link.index for link in netlink.links()}["wan0"]
        netlink.batch([set_up("wan0"), add_address(index, IPv4Interface(host))])
    netns.run_in(str(path), lambda: _furnish(outside))


def _furnish(address: str) -> None:
    with Netlink() as netlink:
        index = {link.name: link.index for link in netlink.links()}["eth0"]
        netlink.batch([set_up("lo"), set_up("eth0"), add_address(index, IPv4Interface(address))])


def route_through(path: Path, subnet: str, gateway: str) -> None:
    """Make the namespace at `path` send what is for `subnet` to `gateway`."""

    def add() -> None:
        with Netlink() as netlink:
            index = {link.name: link.index for link in netlink.links()}["eth0"]
            netlink.batch([add_route(IPv4Network(subnet), ip_address(gateway), index)])

    netns.run_in(str(path), add)
