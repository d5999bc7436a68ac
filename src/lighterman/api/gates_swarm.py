"""What differs in the swarm's bodies for clients of an older API. Apart from `gates`: its structs are heavy."""

from msgspec.structs import replace

from lighterman.api.versions import Version
from lighterman.apitypes.swarm import SwarmInitBody


def init(body: SwarmInitBody, version: Version) -> SwarmInitBody:
    """Source: initCluster in moby's api/server/router/swarm/cluster_routes.go."""
    if version < (1, 39):
        body = replace(body, default_addr_pool=None, subnet_size=0)
    if version < (1, 40):
        body = replace(body, data_path_port=0)
    return body
