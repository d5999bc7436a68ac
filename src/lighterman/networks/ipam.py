"""Addresses: which subnet a network gets, and which address an endpoint. Pure; nothing is remembered on
disk, because the sandboxes that run say what is taken.

An `AddressSpace` is one subnet as a bitmap in an int: bit n is the address n behind the network's own.
The lowest free address is given out; one that was given back may come again at once.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from lighterman.errdefs import InvalidParameter
from lighterman.networks.config import AddressPool
from lighterman.networks.errors import AddressInUse, NoFreeAddress, PoolsExhausted


class AddressSpace:
    """The addresses of one subnet. `chosen_from` narrows what `take` gives out (IPRange)."""

    def __init__(self, subnet: IPv4Network, chosen_from: IPv4Network | None = None) -> None:
        self.subnet = subnet
        self._size = subnet.num_addresses
        self._used = 0
        window = chosen_from or subnet
        self._first = int(window.network_address) - int(subnet.network_address)
        self._window = ((1 << window.num_addresses) - 1) << self._first
        if subnet.prefixlen < 31:  # RFC 3021: a /31 has neither network nor broadcast address
            self._used = 1 | 1 << (self._size - 1)

    def take(self) -> IPv4Address:
        """The lowest free address. Raises NoFreeAddress."""
        free = ~self._used & self._window
        if not free:
            raise NoFreeAddress
        lowest = free & -free
        self._used |= lowest
        return self.subnet.network_address + (lowest.bit_length() - 1)

    def take_this(self, address: IPv4Address) -> None:
        """Take `address`. Raises InvalidParameter when it is outside, AddressInUse."""
        bit = self._bit(address)
        if self._used & bit:
            raise AddressInUse
        self._used |= bit

    def release(self, address: IPv4Address) -> None:
        """Give `address` back; one that is free already stays so."""
        self._used &= ~self._bit(address)

    def _bit(self, address: IPv4Address) -> int:
        if address not in self.subnet:
            raise InvalidParameter(
                f"Invalid address {address}: It does not belong to any of this network's subnets"
            )
        return 1 << (int(address) - int(self.subnet.network_address))


def choose_subnet(pools: Sequence[AddressPool], taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first subnet of `pools` that overlaps none `taken` (networks of ours, routes of the host).

    Raises: PoolsExhausted.
    """
    others = list(taken)
    for pool in pools:
        for subnet in IPv4Network(pool.base).subnets(new_prefix=pool.size):
            if not any(subnet.overlaps(other) for other in others):
                return subnet
    raise PoolsExhausted


def first_host(subnet: IPv4Network) -> IPv4Address:
    """The address that a gateway gets when none is asked for."""
    return subnet.network_address + (1 if subnet.prefixlen < 31 else 0)


def mac_of(address: IPv4Address) -> str:
    """The MAC of an endpoint: 02:42 and its address, so that a neighbour's stale entry stays true."""
    return "02:42:" + address.packed.hex(":")


def parse_ipv4(text: str) -> IPv4Address:
    """Raises InvalidParameter."""
    try:
        return ipaddress.IPv4Address(text)
    except ValueError as error:
        raise InvalidParameter(f"invalid IPv4 address: {text}") from error
