"""What is wrong with a service, whatever the swarm's state. Source: SwarmKit, controlapi/service.go."""

import re
from collections.abc import Iterable

from lighterman.apitypes.container import HealthConfig, Mount
from lighterman.apitypes.service import (
    ContainerSpec,
    EndpointSpec,
    FileTarget,
    NetworkAttachmentConfig,
    ResourceRequirements,
    RestartPolicy,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from lighterman.apitypes.swarm import NodeDescription
from lighterman.errdefs import InvalidParameter
from lighterman.reference import parse_reference
from lighterman.swarm.agent.devices import devices
from lighterman.swarm.agent.task_container import expanded, task_fields
from lighterman.swarm.control.refusals import InvalidArgument, NotSupported, Unknown
from lighterman.swarm.orchestrate import constraints, rebalance
from lighterman.swarm.session import AssignedTask

_DNS_NAME = re.compile(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*")
_LONGEST_NAME = 63
_LEAST_CPUS, _LEAST_MEMORY = 1_000_000, 4 << 20
_MILLISECOND_NS = 1_000_000
_LAST_PORT = 65535


def check(spec: ServiceSpec) -> None:
    """Raises: InvalidArgument, Unknown, in the order in which SwarmKit looks."""
    check_name(spec.name)
    _check_rebalance(spec)
    task = spec.task_template
    _check_resources(task.resources)
    _check_restart(task.restart_policy)
    if task.placement is not None:
        try:
            constraints.parse(task.placement.constraints)
        except ValueError as error:
            raise Unknown(str(error)) from None
    assert task.container_spec is not None, "a completed spec has one"
    _check_secrets(task.container_spec)
    _check_configs(task.container_spec)
    _check_container(task.container_spec)
    _check_networks((*task.networks, *spec.networks))
    _check_mode(spec)
    _check_update(spec.update_config)
    _check_update(spec.rollback_config)
    _check_endpoint(spec.endpoint_spec)


def _check_rebalance(spec: ServiceSpec) -> None:
    """The label that is ours has to act."""
    value = spec.labels.get(rebalance.LABEL)
    if value is None:
        return
    if value not in ("true", "false"):
        raise InvalidArgument(f'label {rebalance.LABEL} must be "true" or "false", not "{value}"')
    placement = spec.task_template.placement
    if value == "true" and (spec.mode.replicated is None or (placement and placement.preferences)):
        raise InvalidArgument(
            f"label {rebalance.LABEL} is for replicated services without placement preferences"
        )


def _check_networks(wishes: Iterable[NetworkAttachmentConfig]) -> None:
    """No driver of a swarm's networks has options of endpoints; dockerd takes and forgets them."""
    names = sorted({name for wish in wishes for name in wish.driver_opts})
    if names:
        raise InvalidArgument(f"the networks of a swarm have no options of endpoints: {', '.join(names)}")


def _check_mode(spec: ServiceSpec) -> None:
    replicated, job = spec.mode.replicated, spec.mode.replicated_job
    if replicated is not None and (replicated.replicas or 0) < 0:
        raise InvalidArgument("Number of replicas must be non-negative")
    if job is not None and (job.max_concurrent or 0) < 0:
        raise InvalidArgument("Maximum concurrent jobs must not be negative")
    if job is not None and (job.total_completions or 0) < 0:
        raise InvalidArgument("Total completed jobs must not be negative")
    if (job is not None or spec.mode.global_job is not None) and spec.update_config is not None:
        raise InvalidArgument("Jobs may not have an update config")


def check_name(name: str) -> None:
    """Raises: InvalidArgument for what cannot be a name in DNS."""
    if not name:
        raise InvalidArgument("meta: name must be provided")
    if not _DNS_NAME.fullmatch(name):
        raise InvalidArgument("name must be valid as a DNS name component")
    if len(name) > _LONGEST_NAME:
        raise InvalidArgument("name must be 63 characters or fewer")


def _check_resources(resources: ResourceRequirements | None) -> None:
    for each in (resources.limits, resources.reservations) if resources else ():
        if each is None:
            continue
        if each.nano_cpus != 0 and each.nano_cpus < _LEAST_CPUS:
            raise InvalidArgument(f"invalid cpu value {each.nano_cpus / 1e9:g}: Must be at least 0.001")
        if each.memory_bytes != 0 and each.memory_bytes < _LEAST_MEMORY:
            raise InvalidArgument(f"invalid memory value {each.memory_bytes}: Must be at least 4MiB")
    for wish in resources.reservations.generic_resources if resources and resources.reservations else ():
        if wish.discrete_resource_spec is None and wish.named_resource_spec is None:
            raise InvalidArgument("generic resource without a kind")


def _check_restart(policy: RestartPolicy | None) -> None:
    if policy is None:
        return
    if (policy.delay or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-delay cannot be negative")
    if (policy.window or 0) < 0:
        raise InvalidArgument("TaskSpec: restart-window cannot be negative")


def _check_secrets(container: ContainerSpec) -> None:
    for each in container.secrets:
        if not each.secret_id or not each.secret_name:
            raise InvalidArgument("malformed secret reference")
        if each.file is None:
            raise InvalidArgument("malformed secret reference, no target provided")
    _check_targets("secret", ((each.secret_name, each.file) for each in container.secrets))


def _check_configs(container: ContainerSpec) -> None:
    for each in container.configs:
        if not each.config_id or not each.config_name:
            raise InvalidArgument("malformed config reference")
    _check_targets("config", ((each.config_name, each.file) for each in container.configs))
    privileges = container.privileges
    wish = privileges.credential_spec.config if privileges and privileges.credential_spec else ""
    if wish and not any(each.config_id == wish and each.runtime is not None for each in container.configs):
        raise InvalidArgument(
            f"CredentialSpec references config '{wish}', but that config isn't in config references with "
            "RuntimeTarget"
        )


def _check_targets(what: str, references: Iterable[tuple[str, FileTarget | None]]) -> None:
    taken: dict[str, str] = {}
    for name, file in references:
        if file is None:
            continue
        if not file.name:
            raise InvalidArgument(f"malformed file {what} reference, invalid target file name provided")
        if file.name in taken:
            raise InvalidArgument(
                f"{what} references '{taken[file.name]}' and '{name}' have a conflicting target: "
                f"'{file.name}'"
            )
        taken[file.name] = name


def _check_container(container: ContainerSpec) -> None:
    if not container.image:
        raise InvalidArgument("ContainerSpec: image reference must be provided")
    try:
        parse_reference(container.image)
    except InvalidParameter:
        raise InvalidArgument(f'ContainerSpec: "{container.image}" is not a valid repository/tag') from None
    try:
        devices(container.labels)
    except InvalidParameter as error:
        raise InvalidArgument(f"ContainerSpec: {error}") from None
    _check_placeholders(container)
    _check_mounts(container.mounts)
    _check_health(container.healthcheck)
    if container.privileges is not None and container.privileges.credential_spec is not None:
        raise NotSupported("credential specs are for Windows nodes, and there are none")


def _check_placeholders(container: ContainerSpec) -> None:
    """Fill them in as a task would: what cannot be is told now, not by each task."""
    trial = AssignedTask(
        id="taskid",
        desired_state="running",
        spec=TaskSpec(),
        name="taskname",
        service_id="serviceid",
        service_name="servicename",
        service_labels=_Any(),
        slot=1,
    )
    try:
        expanded(container, task_fields(trial, "nodeid", NodeDescription(hostname="nodeHostname")))
    except InvalidParameter as error:
        raise InvalidArgument(str(error)) from None


class _Any(dict[str, str]):
    """Labels that are all there, and empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _check_mounts(mounts: Iterable[Mount]) -> None:
    taken = set[str]()
    for mount in mounts:
        if mount.target in taken:
            raise InvalidArgument(f"ContainerSpec: duplicate mount point: {mount.target}")
        taken.add(mount.target)


def _check_health(check: HealthConfig | None) -> None:
    if check is None:
        return
    spans = (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    )
    for name, span_ns in spans:
        if span_ns != 0 and span_ns < _MILLISECOND_NS:
            raise InvalidArgument(f"ContainerSpec: {name} in HealthConfig cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidArgument("ContainerSpec: Retries in HealthConfig cannot be negative")


def _check_update(config: UpdateConfig | None) -> None:
    if config is None:
        return
    if config.delay < 0:
        raise InvalidArgument("TaskSpec: update-delay cannot be negative")
    if config.monitor < 0:
        raise InvalidArgument("TaskSpec: update-monitor cannot be negative")
    if not 0 <= config.max_failure_ratio <= 1:
        raise InvalidArgument("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1")


def _check_endpoint(spec: EndpointSpec | None) -> None:
    if spec is None:
        return
    taken = set[tuple[int, str]]()
    for port in spec.ports:
        if spec.mode == "dnsrr" and port.publish_mode == "ingress":
            raise InvalidArgument(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode"
            )
        for number in (port.target_port, port.published_port):
            if number > _LAST_PORT:
                raise InvalidArgument(f"EndpointSpec: invalid port {number}")
        if not port.target_port:
            raise InvalidArgument("EndpointSpec: no target port given")
        if not port.published_port:
            continue
        if (port.published_port, port.protocol) in taken:
            raise InvalidArgument("EndpointSpec: duplicate published ports provided")
        taken.add((port.published_port, port.protocol))
