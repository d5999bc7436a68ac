"""The container that a task becomes. Pure.

Source: daemon/cluster/executor/container/container.go and validate.go of moby 20.10.24.
"""

import posixpath
from collections.abc import Iterable, Mapping
from ipaddress import ip_interface
from typing import Any

from msgspec import UNSET, Struct, structs

from lighterman.apitypes.container import (
    ContainerCreateBody,
    EndpointIPAMConfig,
    EndpointSettings,
    HostConfig,
    LogConfig,
    Mount,
    NetworkingConfig,
    PortBinding,
)
from lighterman.apitypes.service import (
    ConfigReference,
    ContainerSpec,
    FileTarget,
    GenericResource,
    Privileges,
    SecretReference,
)
from lighterman.apitypes.swarm import NodeDescription
from lighterman.containers import GivenFile
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.reference import parse_reference
from lighterman.swarm.agent.devices import devices
from lighterman.swarm.agent.template import BadTemplate, expand
from lighterman.swarm.session import AssignedTask

_LABEL = "com.docker.swarm"
TASK_LABEL = f"{_LABEL}.task.id"
SECRETS_DIRECTORY = "/run/secrets"
PREDEFINED = ("host", "bridge", "none")
"""Networks that every node has: a task is in them as a plain container is."""


class TaskContainer(Struct, frozen=True):
    """What is to be made for a task."""

    name: str
    body: ContainerCreateBody
    files: tuple[GivenFile, ...]
    stop_grace_s: int | None


def task_container(task: AssignedTask, node_id: str, node: NodeDescription) -> TaskContainer:
    """The container of a task on the node `node_id`. Raises: InvalidParameter, Unimplemented."""
    spec = task.spec.container_spec
    if spec is None:
        raise Unimplemented("unsupported runtime")
    if not spec.image:
        raise InvalidParameter("dockerexec: image required")
    _check_mounts(spec.mounts)
    spec = expanded(spec, task_fields(task, node_id, node))
    ports = {f"{port.target_port}/{port.protocol or 'tcp'}": port.published_port for port in task.host_ports}
    return TaskContainer(
        name=task.name,
        body=ContainerCreateBody(
            image=familiar(spec.image),
            hostname=spec.hostname,
            user=spec.user,
            tty=spec.tty,
            open_stdin=spec.open_stdin,
            env=[*spec.env, *_generic(task.generic_resources)] or None,
            entrypoint=spec.command or None,
            cmd=spec.args or None,
            working_dir=spec.dir,
            labels=labels(task, node_id),
            stop_signal=spec.stop_signal or UNSET,
            exposed_ports={port: {} for port in ports} or UNSET,
            healthcheck=spec.healthcheck or UNSET,
            host_config=_host_config(task, spec, ports),
            networking_config=NetworkingConfig(endpoints(task)),
        ),
        files=(*map(_secret, spec.secrets), *(_config(each) for each in spec.configs if each.file)),
        stop_grace_s=None if spec.stop_grace_period is None else spec.stop_grace_period // 10**9,
    )


def labels(task: AssignedTask, node_id: str) -> dict[str, str]:
    """The container's labels; those of the swarm go before others."""
    own = task.spec.container_spec.labels if task.spec.container_spec else {}
    return {
        **own,
        f"{_LABEL}.node.id": node_id,
        f"{_LABEL}.service.id": task.service_id,
        f"{_LABEL}.service.name": task.service_name,
        f"{_LABEL}.task": "",
        TASK_LABEL: task.id,
        f"{_LABEL}.task.name": task.name,
    }


def familiar(image: str) -> str:
    """The image's name as users know it, with a tag; what is no name stays as it is."""
    try:
        return parse_reference(image).with_default_tag().familiar()
    except InvalidParameter:
        return image


def endpoints(task: AssignedTask) -> dict[str, EndpointSettings | None]:
    """The task's places in networks, by their names."""
    own: dict[str, EndpointSettings | None]
    own = {wish.target: EndpointSettings() for wish in task.spec.networks if wish.target in PREDEFINED}
    return own | {
        place.network_name: EndpointSettings(
            ipam_config=EndpointIPAMConfig(*_by_version(place.addresses)),
            network_id=place.network_id,
            driver_opts=dict(place.driver_opts) or None,
        )
        for place in task.attachments
    }


def _by_version(addresses: tuple[str, ...]) -> tuple[str, str]:
    found = {ip_interface(text).version: str(ip_interface(text).ip) for text in addresses}
    return found.get(4, ""), found.get(6, "")


def task_fields(task: AssignedTask, node_id: str, node: NodeDescription) -> dict[str, Any]:
    """What placeholders may name. Source: Context of SwarmKit's template package."""
    return {
        "Service": {"ID": task.service_id, "Name": task.service_name, "Labels": task.service_labels},
        "Node": {
            "ID": node_id,
            "Hostname": node.hostname,
            "Platform": {"Architecture": node.platform.architecture, "OS": node.platform.os},
        },
        "Task": {"ID": task.id, "Name": task.name, "Slot": str(task.slot) if task.slot else node_id},
    }


def expanded(spec: ContainerSpec, fields: Mapping[str, Any]) -> ContainerSpec:
    """The spec with its placeholders filled in from `fields`. Raises: InvalidParameter."""
    return structs.replace(
        spec,
        env=[_within("expanding env failed", _expanded_variable, each, fields) for each in spec.env],
        mounts=[_within("expanding mounts failed", _expanded_mount, each, fields) for each in spec.mounts],
        hostname=_within("expanding hostname failed", expand, spec.hostname, fields),
    )


def _within(what: str, work: Any, value: Any, fields: Mapping[str, Any]) -> Any:
    try:
        return work(value, fields)
    except BadTemplate as error:
        raise InvalidParameter(f"{what}: {error}") from error


def _expanded_variable(text: str, fields: Mapping[str, Any]) -> str:
    name, equals, value = text.partition("=")
    return f"{name}{equals}{expand(value, fields)}"


def _expanded_mount(mount: Mount, fields: Mapping[str, Any]) -> Mount:
    options = mount.volume_options
    if options is not None:
        driver = options.driver_config
        if driver is not None:
            driver = structs.replace(driver, options=_expanded_map(driver.options, fields))
        options = structs.replace(options, labels=_expanded_map(options.labels, fields), driver_config=driver)
    return structs.replace(
        mount,
        source=expand(mount.source, fields),
        target=expand(mount.target, fields),
        volume_options=options,
    )


def _expanded_map(values: dict[str, str] | None, fields: Mapping[str, Any]) -> dict[str, str] | None:
    return None if values is None else {key: expand(text, fields) for key, text in values.items()}


def _check_mounts(mounts: list[Mount]) -> None:
    for mount in mounts:
        if not mount.target.startswith("/"):
            raise InvalidParameter(f"invalid mount target, must be an absolute path: {mount.target}")
        absolute = mount.source.startswith("/")
        if mount.type == "bind" and not absolute:
            raise InvalidParameter(f"invalid bind mount source, must be an absolute path: {mount.source}")
        if mount.type == "volume" and absolute:
            raise InvalidParameter(
                f"invalid volume mount source, must not be an absolute path: {mount.source}"
            )
        if mount.type == "tmpfs" and mount.source:
            raise InvalidParameter("invalid tmpfs source, source must be empty")
        if mount.type not in ("bind", "volume", "tmpfs"):
            raise InvalidParameter(f"invalid mount type: {mount.type}")


def _host_config(task: AssignedTask, spec: ContainerSpec, ports: Mapping[str, int]) -> HostConfig:
    dns, limits = spec.dns_config, task.spec.resources.limits if task.spec.resources else None
    return HostConfig(
        network_mode=next((name for name in endpoints(task) if name in PREDEFINED), ""),
        port_bindings={
            port: [PortBinding(host_port=str(published) if published else "")]
            for port, published in ports.items()
        },
        mounts=spec.mounts or UNSET,
        group_add=spec.groups or None,
        readonly_rootfs=spec.read_only,
        isolation=spec.isolation,
        init=UNSET if spec.init is None else spec.init,
        sysctls=spec.sysctls or UNSET,
        cap_add=spec.capability_add or None,
        cap_drop=spec.capability_drop or None,
        ulimits=spec.ulimits or None,
        dns=(dns.nameservers or None) if dns else None,
        dns_search=(dns.search or None) if dns else None,
        dns_options=(dns.options or None) if dns else None,
        extra_hosts=[f"{words[1]}:{words[0]}" for words in map(str.split, spec.hosts) if len(words) > 1]
        or None,
        security_opt=_security(spec.privileges) or None,
        log_config=LogConfig(task.log_driver.name, dict(task.log_driver.options))
        if task.log_driver
        else LogConfig(),
        memory=limits.memory_bytes if limits else 0,
        nano_cpus=limits.nano_cpus if limits else 0,
        pids_limit=(limits.pids or None) if limits else None,
        devices=devices(spec.labels) or None,
    )


def _security(privileges: Privileges | None) -> list[str]:
    """Source: applyPrivileges of moby; credential specs are of Windows."""
    if privileges is None:
        return []
    if privileges.credential_spec is not None:
        raise InvalidParameter("credential specs are supported on Windows only")
    context = privileges.se_linux_context
    if context is None:
        return []
    told = ["label=disable"] if context.disable else []
    for name in ("user", "role", "level", "type"):
        if value := getattr(context, name):
            told.append(f"label={name}:{value}")
    return told


def _generic(given: Iterable[GenericResource]) -> list[str]:
    """Environment that tells of what the task was given. Source: SwarmKit, genericresource.EnvFormat."""
    told: dict[str, list[str]] = {}
    for each in given:
        spec = each.named_resource_spec or each.discrete_resource_spec
        if spec is not None:
            told.setdefault(spec.kind.upper(), []).append(str(spec.value))
    return [f"DOCKER_RESOURCE_{kind}={','.join(values)}" for kind, values in told.items()]


def _secret(reference: SecretReference) -> GivenFile:
    return _file(f"secret {reference.secret_id}", reference.file or FileTarget(), SECRETS_DIRECTORY)


def _config(reference: ConfigReference) -> GivenFile:
    return _file(f"config {reference.config_id}", reference.file or FileTarget(), "/")


def _file(source: str, file: FileTarget, directory: str) -> GivenFile:
    """Where a secret or config lies. Source: getTargetPath of moby."""
    for name, value in (("uid", file.uid), ("gid", file.gid)):
        if value and not value.isdecimal():
            raise InvalidParameter(f'strconv.Atoi: parsing "{value}": invalid syntax ({name} of {source})')
    return GivenFile(
        source,
        posixpath.normpath(posixpath.join(directory, file.name)),
        int(file.uid or 0),
        int(file.gid or 0),
        file.mode & 0o7777,
    )
