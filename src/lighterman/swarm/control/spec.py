"""A service's spec as it is kept: every choice made that dockerd makes at once.

Source: moby, daemon/cluster/convert (there and back again), and SwarmKit, api/defaults, for what
`insertDefaults` shows.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from lighterman.apitypes.container import BindOptions, Mount
from lighterman.apitypes.service import (
    ConfigReference,
    ContainerSpec,
    CredentialSpec,
    DNSConfig,
    EndpointSpec,
    Placement,
    PortConfig,
    ReplicatedJob,
    ReplicatedService,
    ResourceRequirements,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from lighterman.errdefs import InvalidParameter, Unimplemented

SECOND_NS = 1_000_000_000
_CONDITIONS = ("none", "on-failure", "any")
_MOUNT_TYPES = ("bind", "volume", "tmpfs", "npipe")
_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")


def complete(spec: ServiceSpec, made_up_name: str) -> ServiceSpec:
    """The spec with all that is not said but follows; `made_up_name` is for a service without a name.

    Raises: InvalidParameter in dockerd's words; Unimplemented for plugins as tasks.
    """
    return replace(
        spec,
        name=spec.name or made_up_name,
        task_template=_task(spec.task_template, spec.mode),
        mode=_mode(spec.mode),
        update_config=_update(spec.update_config),
        rollback_config=_update(spec.rollback_config),
        endpoint_spec=_endpoint(spec.endpoint_spec),
    )


def _task(task: TaskSpec, mode: ServiceMode) -> TaskSpec:
    if task.runtime not in ("", "container", "plugin"):
        raise InvalidParameter("unsupported runtime")
    if task.runtime == "plugin":
        if task.plugin_spec is None:
            raise InvalidParameter("mismatched Runtime and *Spec fields")
        if mode.replicated is not None:
            raise InvalidParameter("plugins must not use replicated mode")
        raise Unimplemented(
            f'services of the runtime type "plugin" are not supported: install {task.plugin_spec.remote} on '
            "each node with `docker plugin install`"
        )
    if task.container_spec is None:
        raise InvalidParameter("mismatched Runtime and *Spec fields")
    placement = task.placement
    if placement is not None:
        placement = replace(
            placement, preferences=[each for each in placement.preferences if each.spread is not None]
        )
    return replace(
        task,
        container_spec=_container(task.container_spec),
        plugin_spec=None,
        network_attachment_spec=None,
        restart_policy=_restart(task.restart_policy),
        placement=placement,
        runtime="container",
    )


def _container(spec: ContainerSpec) -> ContainerSpec:
    if spec.privileges is not None and spec.privileges.credential_spec is not None:
        _check_credential_spec(spec.privileges.credential_spec)
    for reference in spec.configs:
        _check_config(reference)
    isolation = spec.isolation.lower()
    return replace(
        spec,
        isolation=isolation if isolation in ("hyperv", "process") else "default",
        mounts=[_mount(mount) for mount in spec.mounts],
    )


def _check_credential_spec(spec: CredentialSpec) -> None:
    given = [f'"{name}"' for name in ("config", "file", "registry") if getattr(spec, name)]
    if not given:
        raise InvalidParameter(
            'invalid CredentialSpec: must either provide "file", "registry", or "config" for credential spec'
        )
    if len(given) == 2:
        raise InvalidParameter(
            f"invalid CredentialSpec: cannot specify both {given[0]} and {given[1]} credential specs"
        )
    if len(given) > 2:
        raise InvalidParameter(
            f"invalid CredentialSpec: cannot specify both {', '.join(given[:-1])}, and {given[-1]} "
            "credential specs"
        )


def _check_config(reference: ConfigReference) -> None:
    if reference.runtime is None and reference.file is None:
        raise InvalidParameter("invalid Config: either File or Runtime should be set")
    if reference.runtime is not None and reference.file is not None:
        raise InvalidParameter("invalid Config: cannot specify both File and Runtime")


def _mount(mount: Mount) -> Mount:
    kind = mount.type.lower()
    if kind not in ("", *_MOUNT_TYPES):
        raise InvalidParameter(f'invalid MountType: "{mount.type}"')
    options = mount.bind_options
    if options is not None:
        propagation = options.propagation.lower()
        if propagation not in ("", *_PROPAGATIONS):
            raise InvalidParameter(f'invalid MountPropagation: "{options.propagation}"')
        says_nothing = replace(options, propagation="") == BindOptions() and not propagation
        options = None if says_nothing else replace(options, propagation=propagation or "rprivate")
    return replace(mount, type=kind or "bind", bind_options=options)


def _restart(policy: RestartPolicy | None) -> RestartPolicy | None:
    if policy is None:
        return None
    if policy.condition not in ("", *_CONDITIONS):
        raise InvalidParameter(f'invalid RestartCondition: "{policy.condition}"')
    return replace(policy, condition=policy.condition or "any", max_attempts=policy.max_attempts or 0)


def _update(config: UpdateConfig | None) -> UpdateConfig | None:
    if config is None:
        return None
    if config.failure_action not in ("", "pause", "continue", "rollback"):
        raise InvalidParameter(f"unrecognized update failure action {config.failure_action}")
    if config.order not in ("", "stop-first", "start-first"):
        raise InvalidParameter(f"unrecognized update order {config.order}")
    return replace(
        config, failure_action=config.failure_action or "pause", order=config.order or "stop-first"
    )


def _endpoint(spec: EndpointSpec | None) -> EndpointSpec | None:
    if spec is None:
        return None
    if spec.mode not in ("", "vip", "dnsrr"):
        raise InvalidParameter(f'invalid resolution mode: "{spec.mode}"')
    return replace(spec, mode=spec.mode or "vip", ports=[_port(port) for port in spec.ports])


def _port(port: PortConfig) -> PortConfig:
    """dockerd makes tcp and ingress of words that it does not know; here they are refused."""
    protocol, mode = port.protocol.lower() or "tcp", port.publish_mode.lower() or "ingress"
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidParameter(f'invalid port protocol: "{port.protocol}"')
    if mode not in ("ingress", "host"):
        raise InvalidParameter(f'invalid publish mode: "{port.publish_mode}"')
    return replace(port, protocol=protocol, publish_mode=mode)


def _mode(mode: ServiceMode) -> ServiceMode:
    given = (mode.global_, mode.replicated, mode.replicated_job, mode.global_job)
    if sum(each is not None for each in given) > 1:
        raise InvalidParameter("must specify only one service mode")
    if mode.global_ is not None:
        return ServiceMode(global_={})
    if mode.global_job is not None:
        return ServiceMode(global_job={})
    if (job := mode.replicated_job) is not None:
        at_once = 1 if job.max_concurrent is None else job.max_concurrent
        total = at_once if job.total_completions is None else job.total_completions
        return ServiceMode(replicated_job=ReplicatedJob(max_concurrent=at_once, total_completions=total))
    replicas = None if mode.replicated is None else mode.replicated.replicas
    return ServiceMode(replicated=ReplicatedService(replicas=1 if replicas is None else replicas))


def targets(spec: ServiceSpec) -> Sequence[str]:
    """The networks that the service wants, as it names them; the old place counts if the new one is empty."""
    return [each.target for each in spec.task_template.networks or spec.networks]


def with_targets(spec: ServiceSpec, ids: Sequence[str]) -> ServiceSpec:
    """The spec with its networks by id."""
    if spec.task_template.networks:
        networks = [
            replace(each, target=id) for each, id in zip(spec.task_template.networks, ids, strict=True)
        ]
        return replace(spec, task_template=replace(spec.task_template, networks=networks))
    return replace(
        spec,
        networks=[replace(each, target=id) for each, id in zip(spec.networks, ids, strict=True)],
    )


# What insertDefaults shows

_UPDATE = UpdateConfig(parallelism=1, failure_action="pause", monitor=5 * SECOND_NS, order="stop-first")


def with_defaults(spec: ServiceSpec) -> ServiceSpec:
    """The spec with what holds where nothing was said. Source: SwarmKit, api/defaults/service.go."""
    task = spec.task_template
    container = task.container_spec
    if container is not None:
        container = replace(
            container,
            stop_grace_period=10 * SECOND_NS
            if container.stop_grace_period is None
            else container.stop_grace_period,
            dns_config=container.dns_config or DNSConfig(),
        )
    policy = task.restart_policy or RestartPolicy(condition="any", max_attempts=0)
    if policy.delay is None:
        policy = replace(policy, delay=5 * SECOND_NS)
    return replace(
        spec,
        task_template=replace(
            task,
            container_spec=container,
            resources=task.resources or ResourceRequirements(),
            restart_policy=policy,
            placement=task.placement or Placement(),
        ),
        update_config=_with_monitor(spec.update_config),
        rollback_config=_with_monitor(spec.rollback_config),
    )


def _with_monitor(config: UpdateConfig | None) -> UpdateConfig:
    if config is None:
        return _UPDATE
    return config if config.monitor else replace(config, monitor=_UPDATE.monitor)
