"""The driver options of a network: which there are, what they say. Pure.

Source: libnetwork's netlabel and the labels of its bridge and macvlan drivers.
"""

import re
from collections.abc import Mapping

from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.linux.link_kinds import MACVLAN_MODES
from lighterman.networks.ipam import parse_address

_BRIDGE = "com.docker.network.bridge."
NAME = f"{_BRIDGE}name"
ICC = f"{_BRIDGE}enable_icc"
MASQUERADE = f"{_BRIDGE}enable_ip_masquerade"
HOST_BINDING = f"{_BRIDGE}host_binding_ipv4"
NO_ADDRESS = f"{_BRIDGE}inhibit_ipv4"
HOST_IPV4 = "com.docker.network.host_ipv4"
"""The host's address that what leaves the network takes, in place of that of the link it leaves by."""
DEFAULT_BRIDGE = f"{_BRIDGE}default_bridge"
MTU = "com.docker.network.driver.mtu"
INTERFACE_PREFIX = "com.docker.network.container_iface_prefix"
PARENT, MACVLAN_MODE = "parent", "macvlan_mode"

IPV6 = "com.docker.network.enable_ipv6"

GATEWAY_MODES = (f"{_BRIDGE}gateway_mode_ipv4", f"{_BRIDGE}gateway_mode_ipv6")
"""Of later versions than dockerd 20.10; "nat" is what it did and we do."""
_KNOWN = (
    NAME,
    ICC,
    MASQUERADE,
    HOST_BINDING,
    HOST_IPV4,
    NO_ADDRESS,
    MTU,
    INTERFACE_PREFIX,
    IPV6,
    *GATEWAY_MODES,
)
_OTHER_MODES = ("routed", "nat-unprotected", "isolated")
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def check_options(options: Mapping[str, str], driver: str) -> None:
    """Raises InvalidParameter for a value that is none, Unimplemented for an option of Docker's that does
    not act here. Options that are nobody's are kept, as dockerd does."""
    for name in options:
        if name.startswith("com.docker.network.") and name not in _KNOWN:
            raise Unimplemented(f"network option {name} is not implemented yet")
    if options.get(IPV6, "true") not in _BOOLEANS:
        raise InvalidParameter(f'driver-opt "{IPV6}" is not a valid bool')
    for name in (ICC, MASQUERADE, NO_ADDRESS):
        if options.get(name, "true") not in _BOOLEANS:
            wrong = f'strconv.ParseBool: parsing "{options[name]}": invalid syntax'
            raise InvalidParameter(f"failed to parse {name} value: {options[name]} ({wrong})")
    mtu = options.get(MTU, "1500")
    if not mtu.isdecimal():
        wrong = f'strconv.Atoi: parsing "{mtu}": invalid syntax'
        raise InvalidParameter(f"failed to parse {MTU} value: {mtu} ({wrong})")
    if not 68 <= int(mtu) <= 65535:
        raise InvalidParameter(f"invalid MTU number: {mtu}")
    for name in GATEWAY_MODES:
        mode = options.get(name, "nat")
        if mode in _OTHER_MODES:
            raise Unimplemented(f"{name}: the gateway mode {mode} is not implemented, only nat is")
        if mode != "nat":
            raise InvalidParameter(f"unknown gateway mode {mode}")
    for name in (HOST_BINDING, HOST_IPV4):
        if name in options:
            parse_address(options[name], 4)
    for name, longest in ((NAME, 15), (INTERFACE_PREFIX, 11)):
        if name in options and not re.fullmatch(rf"[A-Za-z][A-Za-z0-9_.-]{{0,{longest - 1}}}", options[name]):
            raise InvalidParameter(f"invalid name of a link in {name}: {options[name]}")
    if driver == "macvlan" and options.get(MACVLAN_MODE, "bridge") not in MACVLAN_MODES:
        wished = options[MACVLAN_MODE]
        raise InvalidParameter(
            f"requested macvlan mode '{wished}' is not valid, 'bridge' mode is the macvlan driver default"
        )


def flag(options: Mapping[str, str], name: str, *, default: bool = True) -> bool:
    """A boolean option, as Go reads it."""
    return _BOOLEANS[options[name]] if name in options else default


def split_parent(parent: str) -> tuple[str, int]:
    """("eth0", 10) of "eth0.10", ("eth0", 0) of a link without VLAN. Raises InvalidParameter."""
    link, dot, vlan = parent.rpartition(".")
    if not dot:
        return parent, 0
    if not vlan.isdecimal():
        raise InvalidParameter(f"unable to parse a valid vlan id from: {vlan} (ex. eth0.10 for vlan 10)")
    if not 1 <= int(vlan) <= 4094:
        raise InvalidParameter(f"vlan id must be between 1-4094, received: {int(vlan)}")
    return link, int(vlan)
