"""The texts of the files in a container that tell it its name, its neighbours and its name servers: pure."""

from collections.abc import Sequence


def hosts_file(
    hostname: str, domainname: str, addresses: Sequence[str], extra: Sequence[tuple[str, str]]
) -> str:
    """`/etc/hosts`; `addresses` are the container's own, `extra` (name, address) of ExtraHosts and links."""
    raise NotImplementedError


def resolv_conf(host_text: str, *, dns: Sequence[str], search: Sequence[str], options: Sequence[str]) -> str:
    """`/etc/resolv.conf` from the host's, overridden by what is not empty."""
    raise NotImplementedError


def hostname_file(hostname: str) -> str:
    """`/etc/hostname`."""
    raise NotImplementedError
