"""Who is called what in which network: what a container's own name server answers. Pure, in memory.

A name is a container's name, an alias or its short id, alone or with the network's name behind a dot. Several
containers may have one; then each answer begins with another of them. The default bridge has no names.

In a network of the swarm there are also the names of services and of what is on other nodes. A service's name
and its aliases mean its virtual address, or all its tasks; `tasks.` and its name always means all its tasks.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address

from lighterman.lib.dns_message import Address
from lighterman.networks.balancing import Member, Service
from lighterman.networks.sandbox import Endpoint, Sandbox


class Names:
    """All names of this engine."""

    def __init__(self) -> None:
        self._by_name: dict[
            tuple[str, str], dict[str, tuple[Address, ...]]
        ] = {}  # network id, name -> by sandbox
        self._by_address: dict[tuple[str, Address], str] = {}
        self._in_swarm: dict[str, Mapping[str, tuple[Address, ...]]] = {}  # network id -> name -> addresses
        self._called: dict[str, Mapping[Address, str]] = {}  # network id -> address -> name
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

    def tell(
        self, network_id: str, network_name: str, services: Sequence[Service], members: Sequence[Member]
    ) -> None:
        """Know a network of the swarm so from now on; nothing in it forgets it."""
        self.version += 1
        found: dict[str, dict[Address, None]] = {}
        called: dict[Address, str] = {}
        records = (*map(_of_service, services), *map(_of_tasks, services), *map(_of_member, members))
        for names, texts in records:
            for name in {each.lower() for each in names}:
                for known_as in (name, f"{name}.{network_name}".lower()):
                    found.setdefault(known_as, {}).update((ip_address(text), None) for text in texts)
        for member in members:
            called[ip_address(member.address)] = f"{member.name}.{network_name}"
        self._in_swarm[network_id] = {name: tuple(each) for name, each in found.items() if each}
        self._called[network_id] = called

    def addresses(self, sandbox: Sandbox, name: str) -> Sequence[Address] | None:
        """The addresses that `name` has for a sandbox, in the first of its networks that knows it; None when
        none does."""
        for endpoint in _in_order(sandbox):
            known_as = endpoint.links.get(name, name).lower()
            entries = self._by_name.get((endpoint.network_id, known_as))
            if entries:
                return self._turned([address for entry in entries.values() for address in entry])
            told = self._in_swarm.get(endpoint.network_id, {}).get(known_as) if endpoint.has_names else None
            if told:
                return self._turned(list(told))
        return None

    def name_of(self, sandbox: Sandbox, address: Address) -> str | None:
        """The name of the container that has this address in one of the sandbox's networks."""
        for endpoint in _in_order(sandbox):
            name = self._by_address.get((endpoint.network_id, address))
            if name is None and endpoint.has_names:
                name = self._called.get(endpoint.network_id, {}).get(address)
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


def _of_service(service: Service) -> tuple[Iterable[str], Iterable[str]]:
    return (service.name, *service.aliases), (service.vip,) if service.vip else service.tasks


def _of_tasks(service: Service) -> tuple[Iterable[str], Iterable[str]]:
    return [f"tasks.{name}" for name in (service.name, *service.aliases)], service.tasks


def _of_member(member: Member) -> tuple[Iterable[str], Iterable[str]]:
    return (member.name, *member.aliases), (member.address,)


def _in_order(sandbox: Sandbox) -> Iterable[Endpoint]:
    """The network with the default route first, the rest by name."""
    first = sandbox.way_out(4) or sandbox.way_out(6)
    rest = sorted(
        (each for each in sandbox.endpoints if each is not first), key=lambda each: each.network_name
    )
    return [first, *rest] if first is not None else rest
