"""Ports of an EXPOSE, in the form of the API.

Source: go-connections/nat, ParsePortSpec, as dockerd 20.10.24 has it; so are the texts.
"""

import ipaddress

from lighterman.errdefs import InvalidParameter


def exposed_ports(text: str) -> list[str]:
    """`80`, `80/udp`, `80-82/tcp` one by one, as `80/tcp`. A host's part is checked and passed over.

    Raises: InvalidParameter in dockerd's words.
    """
    host, _, port = text.rpartition(":")
    address, _, host_port = host.rpartition(":")
    _check_address(address)
    span, _, protocol = port.partition("/")
    protocol = protocol.partition("/")[0] or "tcp"
    if not span:
        raise InvalidParameter(f"No port specified: {text}<empty>")
    first, last = _span(span, "containerPort")
    if host_port:
        _check_host_ports(host_port, span, last - first)
    if protocol.lower() not in ("tcp", "udp", "sctp"):
        raise InvalidParameter(f"Invalid proto: {protocol}")
    return [f"{number}/{protocol.lower()}" for number in range(first, last + 1)]


def _check_address(address: str) -> None:
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if bare == address and ":" in address:
        raise InvalidParameter(
            f"Invalid ip address {address}: address {address}:: too many colons in address"
        )
    try:
        ipaddress.ip_address(bare or "::")
    except ValueError:
        raise InvalidParameter(f"Invalid ip address: {bare}") from None


def _check_host_ports(text: str, span: str, size: int) -> None:
    first, last = _span(text, "hostPort")
    if size and last - first != size:
        raise InvalidParameter(f"Invalid ranges specified for container and host Ports: {span} and {text}")


def _span(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    for number in (first, last):
        if not (number.isascii() and number.isdecimal() and int(number) < 1 << 16):
            raise InvalidParameter(f"Invalid {what}: {text}")
    if int(last) < int(first):
        raise InvalidParameter(f"Invalid {what}: {text}")
    return int(first), int(last)
