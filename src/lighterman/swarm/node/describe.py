"""What a node says of itself. Source: executor/container/executor.go of moby."""

from collections.abc import Awaitable, Callable, Sequence

from lighterman.apitypes.service import Platform, Resources
from lighterman.apitypes.swarm import EngineDescription, NodeDescription, PluginDescription, TLSInfo
from lighterman.containers.log_options import offered
from lighterman.swarm.ca import certificates
from lighterman.swarm.node.credentials import Credentials

NETWORK_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")


async def plugins_of(names: Callable[[str], Awaitable[Sequence[str]]]) -> Sequence[PluginDescription]:
    """The drivers that tasks can have of this node: its own, and by their interface those of its plugins."""
    found = [
        *(("Log", name) for name in {*offered(), *await names("LogDriver")}),
        *(("Network", name) for name in {*NETWORK_DRIVERS, *await names("NetworkDriver")}),
        *(("Volume", name) for name in {"local", *await names("VolumeDriver")}),
    ]
    return [PluginDescription(*each) for each in sorted(found)]


def describe(credentials: Credentials, plugins: Sequence[PluginDescription]) -> NodeDescription:
    """Host, engine, plugins and the certificates of this node."""
    host = credentials.engine.containers.host
    labels = dict(label.partition("=")[::2] for label in credentials.engine.labels)
    return NodeDescription(
        hostname=host.hostname,
        platform=Platform(host.machine, "linux"),
        resources=Resources(
            nano_cpus=host.ncpu * 1_000_000_000,
            memory_bytes=host.mem_total_bytes,
            generic_resources=list(credentials.engine.generic_resources),
        ),
        engine=EngineDescription(credentials.engine.version, labels, list(plugins)),
        tls_info=tls_info(credentials),
    )


def tls_info(credentials: Credentials) -> TLSInfo:
    """The root that this node trusts, and who has signed its certificate."""
    subject, public_key = certificates.issuer_in(credentials.keys.certificate, credentials.membership.root)
    return TLSInfo(credentials.membership.root, subject, public_key)
