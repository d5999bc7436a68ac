"""Networks: how containers reach each other, the host and the world.

Four words. A *network* is a row with a driver (bridge, macvlan, host, null, a plugin); a *sandbox* is a
container's network namespace; an *endpoint* is a sandbox's end in one network; a *published port* is an
address and port of the host that answers for a container.

`Networks.reserve` decides all of a container in memory and holds its ports, so every conflict is told
there. `connect` makes it so in the kernel, `disconnect` takes everything back and is idempotent; `join` and
`leave` do the same for one network of a container that runs. Rules are elements of sets in one nft table of
ours (`ruleset`), links are made by netlink (`links`), both by `builder` in the kernel's thread. The daemon
listens on each published port itself (`ports`). In users' networks each sandbox has a name server
(`name_server`) that knows `names` and hands the rest on (`upstream`). `files` holds the texts of hosts and
resolv.conf.

Networks of a swarm come from above (`overlays`): their segments lie in a namespace of their own (`segments`),
and rules in the containers' namespaces stand in for services (`balancing`, `balancer`).

Networks and addresses of plugins are asked for by `remote` before a sandbox is reserved, and loaded when
first needed; `drivers` is where the plugins are found.
"""

from lighterman.networks.attachment import Attacher
from lighterman.networks.balancer import INGRESS_SANDBOX, Picture
from lighterman.networks.balancing import Member, MeshPort, Service
from lighterman.networks.config import DEFAULT_POOLS, AddressPool, NetworkConfig
from lighterman.networks.errors import NeedsSwarm, NoSuchNetwork, NotConnected
from lighterman.networks.options import check_options
from lighterman.networks.row import DRIVERS, NetworkRow, Pool
from lighterman.networks.sandbox import (
    Endpoint,
    EndpointWish,
    PortWish,
    PublishedPort,
    Sandbox,
    SandboxWish,
)
from lighterman.networks.sandboxes import GATEWAY_BRIDGE
from lighterman.networks.segments import DataPath
from lighterman.networks.service import Networks

__all__ = [
    "DEFAULT_POOLS",
    "DRIVERS",
    "GATEWAY_BRIDGE",
    "INGRESS_SANDBOX",
    "AddressPool",
    "Attacher",
    "DataPath",
    "Endpoint",
    "EndpointWish",
    "Member",
    "MeshPort",
    "NeedsSwarm",
    "NetworkConfig",
    "NetworkRow",
    "Networks",
    "NoSuchNetwork",
    "NotConnected",
    "Picture",
    "Pool",
    "PortWish",
    "PublishedPort",
    "Sandbox",
    "SandboxWish",
    "Service",
    "check_options",
]
