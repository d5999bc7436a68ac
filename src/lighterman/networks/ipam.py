"""Addresses: which subnet a network gets, and which address an endpoint. Pure; nothing is remembered on
disk, because the sandboxes that run say what is taken.

An `AddressSpace` is one subnet, IPv4 or IPv6. The lowest free address is given out; one that was given
back may come again at once. `Addresses` is all subnets of one network.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network

from lighterman.errdefs import InvalidParameter
from lighterman.networks.config import AddressPool
from lighterman.networks.errors import AddressInUse, NoFreeAddress, PoolsExhausted
from lighterman.networks.row import Pool

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressSpace:
    """The addresses of one subnet. `chosen_from` narrows what `take` gives out (IPRange)."""

    def __init__(self, subnet: Subnet, chosen_from: Subnet | None = None) -> None:
        self.subnet = subnet
        window = chosen_from or subnet
        self._first, self._last = int(window[0]), int(window[-1])
        self._next = self._first  # nothing below it is free
        self._used: set[int] = set()
        if subnet.prefixlen < subnet.max_prefixlen - 1:  # RFC 3021: a /31 has nothing but hosts
            self._used = {int(subnet[0]), int(subnet[-1])} if subnet.version == 4 else {int(subnet[0])}

    def take(self) -> Address:
        """The lowest free address. Raises NoFreeAddress."""
        while self._next in self._used:
            self._next += 1
        if self._next > self._last:
            raise NoFreeAddress(self.subnet.version)
        self._used.add(self._next)
        return self.subnet[self._next - int(self.subnet[0])]

    def take_this(self, address: Address) -> None:
        """Take `address`. Raises InvalidParameter when it is outside, AddressInUse."""
        if address not in self.subnet:
            raise OutOfSubnets(str(address))
        if int(address) in self._used:
            raise AddressInUse
        self._used.add(int(address))

    def release(self, address: Address) -> None:
        """Give `address` back; one that is free already stays so."""
        number = int(address)
        self._used.discard(number)
        if self._first <= number < self._next:
            self._next = number


class OutOfSubnets(InvalidParameter):
    def __init__(self, address: str) -> None:
        super().__init__(f"Invalid address {address}: It does not belong to any of this network's subnets")


class Addresses:
    """The subnets of one network, with those of gateways and auxiliary hosts taken."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self._pools = tuple(pools)
        self._spaces = [(pool, _space(pool)) for pool in self._pools]

    def take(self, version: int, wished: str = "") -> tuple[Address, Pool] | None:
        """The address wished, or the lowest free one of the first subnet that has one; None when the
        network has none of this version and none is wished.

        Raises: InvalidParameter, AddressInUse, NoFreeAddress.
        """
        spaces = [(pool, space) for pool, space in self._spaces if space.subnet.version == version]
        if wished:
            address = parse_address(wished, version)
            for pool, space in spaces:
                if address in space.subnet:
                    space.take_this(address)
                    return address, pool
            raise OutOfSubnets(wished)
        for at, (pool, space) in enumerate(spaces):
            try:
                return space.take(), pool
            except NoFreeAddress:
                if at == len(spaces) - 1:
                    raise
        return None

    def take_this(self, text: str) -> None:
        """Take an address that is known to be somebody's. Raises InvalidParameter, AddressInUse."""
        self.take(ipaddress.ip_address(text).version, text)

    def release(self, text: str) -> None:
        """Give an address back."""
        address = ipaddress.ip_address(text)
        for _pool, space in self._spaces:
            if address in space.subnet:
                space.release(address)


class GivenAddresses(Addresses):
    """The subnets of a network whose addresses are the swarm's or a plugin's to give: none is chosen here,
    none refused."""

    def take(self, version: int, wished: str = "") -> tuple[Address, Pool] | None:
        """The address wished, which has been given; None without one. Raises: InvalidParameter."""
        if not wished:
            return None
        address = parse_address(wished, version)
        for pool in self._pools:
            if address in ipaddress.ip_network(pool.subnet):
                return address, pool
        raise OutOfSubnets(wished)

    def release(self, text: str) -> None:
        """Nothing: whoever gave it knows."""


def _space(pool: Pool) -> AddressSpace:
    subnet = ipaddress.ip_network(pool.subnet)
    space = AddressSpace(subnet, ipaddress.ip_network(pool.ip_range) if pool.ip_range else None)
    for text in {pool.gateway, *pool.auxiliary.values()} - {""}:
        address = ipaddress.ip_address(text)
        if address in subnet:
            space.release(address)  # a gateway may be the subnet's own address, if somebody wants that
            space.take_this(address)
    return space


def choose_subnet(pools: Sequence[AddressPool], taken: Iterable[Subnet]) -> IPv4Network:
    """The first subnet of `pools` that overlaps none `taken` (networks of ours, routes of the host).

    Raises: PoolsExhausted.
    """
    spans = sorted((int(other[0]), int(other[-1])) for other in taken if other.version == 4)
    for pool in pools:
        base, size = IPv4Network(pool.base), 1 << (32 - pool.size)
        start = int(base[0])
        for first, last in spans:
            if first < start + size and last >= start:
                start += -(-(last + 1 - start) // size) * size  # the next one behind it
        if start + size - 1 <= int(base[-1]):
            return IPv4Network((start, pool.size))
    raise PoolsExhausted


def first_host(subnet: Subnet) -> Address:
    """The address that a gateway gets when none is asked for."""
    return subnet[1 if subnet.prefixlen < subnet.max_prefixlen - 1 else 0]


def mac_of(address: Address) -> str:
    """The MAC of an endpoint: 02:42 and its address, so that a neighbour's stale entry stays true."""
    return "02:42:" + address.packed[-4:].hex(":")


def parse_address(text: str, version: int) -> Address:
    """Raises InvalidParameter."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise InvalidParameter(f"invalid IPv{version} address: {text}")
    return address
