"""Who is called what in which network: what a container's own name server answers. Pure, in memory.

A name is a container's name, an alias or its short id, alone or with the network's name behind a dot. Several
containers may have one; then each answer begins with another of them. The default bridge has no names.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from lighterman.lib.dns_message import Address
from lighterman.networks.sandbox import Endpoint, Sandbox


class Names:
    """All names of this engine."""

    def __init__(self) -> None:
        self._by_name: dict[
            tuple[str, str], dict[str, tuple[Address, ...]]
        ] = {}  # network id, name -> by sandbox
        self._by_address: dict[tuple[str, Address], str] = {}
        self._turn = 0
        self.version = 0  # another one whenever something has changed

    def add(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        """Let the endpoint be found."""
        if not endpoint.has_names:
            return
        self.version += 1
        addresses = tuple(ip_address(address) for address in endpoint.addresses)
        for name in _names(sandbox, endpoint):
            self._by_name.setdefault((endpoint.network_id, name), {})[sandbox.id] = addresses
        for address in addresses:
            self._by_address[endpoint.network_id, address] = f"{sandbox.name}.{endpoint.network_name}"

    def remove(self, sandbox: Sandbox, endpoint: Endpoint) -> None:
        """Let it be found no more; idempotent."""
        self.version += 1
        for name in _names(sandbox, endpoint):
            key = (endpoint.network_id, name)
            entries = self._by_name.get(key, {})
            entries.pop(sandbox.id, None)
            if not entries:
                self._by_name.pop(key, None)
        for address in endpoint.addresses:
            self._by_address.pop((endpoint.network_id, ip_address(address)), None)

    def addresses(self, sandbox: Sandbox, name: str) -> Sequence[Address] | None:
        """The addresses that `name` has for a sandbox, in the first of its networks that knows it; None when
        none does."""
        for endpoint in _in_order(sandbox):
            known_as = endpoint.links.get(name, name).lower()
            entries = self._by_name.get((endpoint.network_id, known_as))
            if entries:
                return self._turned([address for entry in entries.values() for address in entry])
        return None

    def name_of(self, sandbox: Sandbox, address: Address) -> str | None:
        """The name of the container that has this address in one of the sandbox's networks."""
        for endpoint in _in_order(sandbox):
            name = self._by_address.get((endpoint.network_id, address))
            if name is not None:
                return name
        return None

    def _turned(self, addresses: list[Address]) -> Sequence[Address]:
        self._turn += 1
        at = self._turn % len(addresses)
        return addresses[at:] + addresses[:at]


def _names(sandbox: Sandbox, endpoint: Endpoint) -> Iterable[str]:
    for name in {sandbox.name, *endpoint.aliases}:
        yield name.lower()
        yield f"{name}.{endpoint.network_name}".lower()


def _in_order(sandbox: Sandbox) -> Iterable[Endpoint]:
    """The network with the default route first, the rest by name."""
    first = sandbox.way_out(4) or sandbox.way_out(6)
    rest = sorted(
        (each for each in sandbox.endpoints if each is not first), key=lambda each: each.network_name
    )
    return [first, *rest] if first is not None else rest
