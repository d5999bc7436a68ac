"""What a node says of itself. Source: executor/container/executor.go of moby."""

from collections.abc import Sequence

from lighterman.apitypes.service import Platform, Resources
from lighterman.apitypes.swarm import EngineDescription, NodeDescription, PluginDescription, TLSInfo
from lighterman.containers.log_options import offered
from lighterman.swarm.ca import certificates
from lighterman.swarm.facade import Engine
from lighterman.swarm.node.credentials import Credentials

NETWORK_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")


async def plugins_of(engine: Engine) -> Sequence[PluginDescription]:
    """What tasks can have of this node besides what every node has: drivers of its plugins among the own."""
    found = [
        *(("Log", name) for name in {*offered(), *await engine.plugin_names("LogDriver")}),
        *(("Network", name) for name in {*NETWORK_DRIVERS, *await engine.plugin_names("NetworkDriver")}),
        *(("Volume", name) for name in {"local", *await engine.plugin_names("VolumeDriver")}),
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
