"""What differs for clients of an older API: one table of the changes that a body or an answer goes through.

A gate is written for the version that brought a change; requests below that version get its `apply`. Source:
the changelog of the API and the `versions.LessThan` calls of moby's routers. What a version brought to a
query or to the kind of a stream stands where that is read, in `handlers`.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import UNSET, Struct
from msgspec.structs import replace

from lighterman.api.versions import Version
from lighterman.apitypes.container import (
    ContainerCreateBody,
    ContainerInspectResponse,
    ContainerSummary,
    ContainerUpdateBody,
    EndpointSettings,
    HostConfig,
    Mount,
    SummaryNetworkSettings,
)
from lighterman.apitypes.exec import ExecCreateBody, ExecStartBody
from lighterman.apitypes.image import ImageInspect, ImageSummary
from lighterman.apitypes.system import SystemInfo
from lighterman.errdefs import InvalidParameter

T = TypeVar("T")


class Gate(Struct, Generic[T], frozen=True):
    """Below `since`, `apply` takes back what that version brought."""

    since: Version
    what: str
    apply: Callable[[T], T]


def _host(change: Callable[[HostConfig], HostConfig]) -> Callable[[ContainerCreateBody], ContainerCreateBody]:
    def apply(body: ContainerCreateBody) -> ContainerCreateBody:
        return body if body.host_config is None else replace(body, host_config=change(body.host_config))

    return apply


def _mounts(change: Callable[[Mount], Mount]) -> Callable[[ContainerCreateBody], ContainerCreateBody]:
    def apply(host: HostConfig) -> HostConfig:
        return replace(host, mounts=[change(mount) for mount in host.mounts]) if host.mounts else host

    return _host(apply)


def _bind(**reset: bool) -> Callable[[ContainerCreateBody], ContainerCreateBody]:
    """Bind options of a later version go back to what was meant before there was a choice."""
    return _mounts(
        lambda mount: (
            mount
            if mount.bind_options is None
            else replace(mount, bind_options=replace(mount.bind_options, **reset))
        )
    )


def _options_of_its_type(mount: Mount) -> Mount:
    """Those of another type were passed over; a bind with options of volumes was refused always."""
    return replace(
        mount,
        volume_options=mount.volume_options if mount.type in ("volume", "bind") else None,
        tmpfs_options=mount.tmpfs_options if mount.type == "tmpfs" else None,
    )


def _one_endpoint(body: ContainerCreateBody) -> ContainerCreateBody:
    endpoints = (body.networking_config and body.networking_config.endpoints_config) or {}
    if len(endpoints) > 1:
        raise InvalidParameter(
            f"Container cannot be connected to network endpoints: {', '.join(sorted(endpoints))}"
        )
    return body


def _no_start_interval(body: ContainerCreateBody) -> ContainerCreateBody:
    if not body.healthcheck:
        return body
    return replace(body, healthcheck=replace(body.healthcheck, start_interval=0))


def _nameless(image: ImageSummary) -> ImageSummary:
    """Names that say that there is none, and null for no digests beside tags."""
    if not image.repo_tags and not image.repo_digests:
        return replace(image, repo_tags=["<none>:<none>"], repo_digests=["<none>@<none>"])
    return replace(image, repo_tags=image.repo_tags or None, repo_digests=image.repo_digests or None)


def _no_dns_names(networks: dict[str, EndpointSettings]) -> dict[str, EndpointSettings]:
    return {name: replace(endpoint, dns_names=UNSET) for name, endpoint in networks.items()}


def _inspected_without_dns_names(container: ContainerInspectResponse) -> ContainerInspectResponse:
    settings = container.network_settings
    return replace(container, network_settings=replace(settings, networks=_no_dns_names(settings.networks)))


def _listed_without_dns_names(container: ContainerSummary) -> ContainerSummary:
    settings = SummaryNetworkSettings(_no_dns_names(container.network_settings.networks))
    return replace(container, network_settings=settings)


def _no_force(mount: Mount) -> Mount:
    if mount.bind_options and mount.bind_options.read_only_force_recursive:
        raise InvalidParameter("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    return mount


def _plain_security_options(info: SystemInfo) -> SystemInfo:
    names = [option.partition(",")[0].removeprefix("name=") for option in info.security_options]
    return replace(info, security_options=names)


CONTAINER_CREATE: tuple[Gate[ContainerCreateBody], ...] = (
    Gate((1, 25), "AutoRemove", _host(lambda host: replace(host, auto_remove=False))),
    Gate((1, 40), "BindOptions.NonRecursive", _bind(non_recursive=False)),
    Gate(
        (1, 40),
        "IpcMode is private by default",
        _host(lambda host: replace(host, ipc_mode=host.ipc_mode or "shareable")),
    ),
    Gate((1, 40), "KernelMemoryTCP", _host(lambda host: replace(host, kernel_memory_tcp=0))),
    Gate((1, 42), "BindOptions.CreateMountpoint", _bind(create_mountpoint=False)),
    Gate((1, 42), "options for the type of the mount only", _mounts(_options_of_its_type)),
    Gate((1, 42), "ConsoleSize", _host(lambda host: replace(host, console_size=[0, 0]))),
    Gate((1, 43), "Annotations", _host(lambda host: replace(host, annotations=UNSET))),
    Gate((1, 44), "Healthcheck.StartInterval", _no_start_interval),
    Gate((1, 44), "BindOptions.ReadOnlyNonRecursive", _bind(read_only_non_recursive=False)),
    Gate((1, 44), "BindOptions.ReadOnlyForceRecursive", _mounts(_no_force)),
    Gate((1, 44), "several EndpointsConfig", _one_endpoint),
)
CONTAINER_CREATE_ON_V1: tuple[Gate[ContainerCreateBody], ...] = (
    Gate(
        (1, 41),
        "CgroupnsMode is the operator's default",
        _host(lambda host: replace(host, cgroupns_mode=host.cgroupns_mode or "host")),
    ),
)
"""On hosts with cgroup v1 only: there, older clients expect the host's namespace."""
CONTAINER_UPDATE: tuple[Gate[ContainerUpdateBody], ...] = (
    Gate((1, 40), "PidsLimit of an update", lambda body: replace(body, pids_limit=None)),
    Gate((1, 40), "KernelMemoryTCP", lambda body: replace(body, kernel_memory_tcp=0)),
)
EXEC_CREATE: tuple[Gate[ExecCreateBody], ...] = (
    Gate((1, 42), "ConsoleSize", lambda body: replace(body, console_size=None)),
)
EXEC_START: tuple[Gate[ExecStartBody], ...] = (
    Gate((1, 42), "ConsoleSize", lambda body: replace(body, console_size=None)),
)
CONTAINER_INSPECT: tuple[Gate[ContainerInspectResponse], ...] = (
    Gate((1, 44), "DNSNames", _inspected_without_dns_names),
)
CONTAINER_SUMMARY: tuple[Gate[ContainerSummary], ...] = (
    Gate((1, 44), "DNSNames", _listed_without_dns_names),
)
IMAGE_SUMMARY: tuple[Gate[ImageSummary], ...] = (
    Gate((1, 43), "[] for no names", _nameless),
    Gate((1, 44), "VirtualSize", lambda image: replace(image, virtual_size=image.size)),
)
IMAGE_INSPECT: tuple[Gate[ImageInspect], ...] = (
    Gate((1, 44), "VirtualSize", lambda image: replace(image, virtual_size=image.size)),
)
SYSTEM_INFO: tuple[Gate[SystemInfo], ...] = (
    Gate((1, 25), "SecurityOptions with their settings", _plain_security_options),
)


def gated(value: T, gates: tuple[Gate[T], ...], version: Version) -> T:
    """`value` as a client of `version` means it or wants it."""
    for gate in gates:
        if version < gate.since:
            value = gate.apply(value)
    return value
