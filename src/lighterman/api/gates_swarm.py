"""What differs in the swarm's bodies for clients of an older API. Not in `gates`: its structs are heavy."""

from msgspec.structs import replace

from lighterman.api.versions import Version
from lighterman.apitypes.service import ConfigSpec, ContainerSpec, SecretSpec, ServiceSpec
from lighterman.apitypes.swarm import SwarmInitBody


def init(body: SwarmInitBody, version: Version) -> SwarmInitBody:
    """Source: initCluster in moby's api/server/router/swarm/cluster_routes.go."""
    if version < (1, 39):
        body = replace(body, default_addr_pool=None, subnet_size=0)
    if version < (1, 40):
        body = replace(body, data_path_port=0)
    return body


def service(body: ServiceSpec, version: Version) -> ServiceSpec:
    """Source: adjustForAPIVersion in moby's api/server/router/swarm/helpers.go."""
    task = body.task_template
    container, placement, resources = task.container_spec, task.placement, task.resources
    if version < (1, 40):
        container = container and _before_1_40(container)
        placement = placement and replace(placement, max_replicas=0)
    if version < (1, 41):
        container = container and replace(container, capability_add=[], capability_drop=[], ulimits=[])
        if resources is not None and resources.limits is not None:
            resources = replace(resources, limits=replace(resources.limits, pids=0))
        body = replace(body, mode=replace(body.mode, replicated_job=None, global_job=None))
    if version < (1, 44) and container is not None and container.healthcheck is not None:
        container = replace(container, healthcheck=replace(container.healthcheck, start_interval=0))
    return replace(
        body,
        task_template=replace(task, container_spec=container, placement=placement, resources=resources),
    )


def _before_1_40(container: ContainerSpec) -> ContainerSpec:
    privileges = container.privileges
    if privileges is not None and privileges.credential_spec is not None:
        privileges = replace(privileges, credential_spec=replace(privileges.credential_spec, config=""))
    return replace(
        container,
        sysctls={},
        privileges=privileges,
        configs=[replace(each, runtime=None) for each in container.configs],
    )


def secret(body: SecretSpec, version: Version) -> SecretSpec:
    """Source: createSecret in moby's router."""
    return replace(body, templating=None) if version < (1, 37) else body


def config(body: ConfigSpec, version: Version) -> ConfigSpec:
    """Source: createConfig in moby's router."""
    return replace(body, templating=None) if version < (1, 37) else body


NOT_PINNED = (
    "image {0} could not be accessed on a registry to record\nits digest. Each node will access {0} "
    "independently,\npossibly leading to different nodes running different\nversions of the image.\n"
)
"""A warning. Source: digestWarning in moby's daemon/cluster/services.go."""


def with_image(body: ServiceSpec, image: str) -> ServiceSpec:
    """The wish with another image."""
    task = body.task_template
    assert task.container_spec is not None
    container = replace(task.container_spec, image=image)
    return replace(body, task_template=replace(task, container_spec=container))
