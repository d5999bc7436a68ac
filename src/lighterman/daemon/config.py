"""What the operator wished: flags and daemon.json, brought together in one frozen value.

Three words. An *option* is a field of `EngineConfig`: its name in kebab case is dockerd's key in daemon.json,
and its `Flag` is how the command line calls it; the command line, the reading of the file, the check for
conflicts and docs/configuration.md all come from the fields. An option of dockerd's that changes nothing here
*yet* is refused by its name (`REFUSED`), never passed over. Some of those are accepted with the one value
that tells what this engine does anyway (`FIXED`), since daemon.json files in the wild hold them.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from lighterman.errdefs import InvalidParameter
from lighterman.registry import check_mirror

DEFAULT_CONFIG_FILE = Path("/etc/docker/daemon.json")


@dataclass(frozen=True)
class Flag:
    """How the command line calls an option."""

    name: str  # without the dashes
    help: str
    short: str = ""


class AddressPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Networks without a wished subnet are cut from `base` with a prefix of `size` bits."""

    base: str
    size: int


class OciRuntime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another OCI runtime that containers can ask for by name."""

    path: str


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Everything that the operator decides. Source: dockerd(8), 20.10 and later; ours are marked so."""

    hosts: Annotated[
        tuple[str, ...],
        Flag("host", "Where to listen: unix:///path, tcp://127.0.0.1:port, fd:// (systemd)", "H"),
    ] = ("unix:///var/run/docker.sock",)
    group: Annotated[str, Flag("group", "Group that may use the unix sockets", "G")] = "docker"
    insecure_tcp: Annotated[
        bool, Flag("insecure-tcp", "Listen on tcp:// beyond loopback: whoever reaches it is root here (ours)")
    ] = False
    data_root: Annotated[str, Flag("data-root", "Directory of what must survive")] = "/var/lib/lighterman"
    exec_root: Annotated[str, Flag("exec-root", "Directory of running state, best on a tmpfs")] = (
        "/run/lighterman"
    )
    pidfile: Annotated[str, Flag("pidfile", "File that holds the engine's process id", "p")] = (
        "/run/lighterman.pid"
    )
    debug: Annotated[bool, Flag("debug", "Log each step, and every stall of the event loop", "D")] = False
    log_level: Annotated[str, Flag("log-level", "debug, info, warn, error or fatal", "l")] = "info"
    labels: Annotated[tuple[str, ...], Flag("label", "key=value labels of the engine, as /info shows")] = ()
    log_driver: Annotated[str, Flag("log-driver", "Default driver for container logs")] = "json-file"
    log_opts: Annotated[dict[str, str], Flag("log-opt", "Default key=value options for that driver")] = {}
    bridge: Annotated[
        str, Flag("bridge", "Name of the default network's bridge; made when it is not there", "b")
    ] = "docker0"
    bip: Annotated[str, Flag("bip", "Address and prefix of that bridge, as in 172.17.0.1/16")] = ""
    mtu: Annotated[int, Flag("mtu", "MTU of the default network")] = 1500
    default_address_pools: Annotated[
        tuple[AddressPool, ...],
        Flag("default-address-pool", "Pool for new networks, as in base=10.10.0.0/16,size=24"),
    ] = ()
    icc: Annotated[bool, Flag("icc", "Let containers of the default network reach each other")] = True
    ip: Annotated[str, Flag("ip", "Host address of published ports that name none")] = "0.0.0.0"
    ip_forward: Annotated[bool, Flag("ip-forward", "Switch on IPv4 forwarding of the host")] = True
    ip_masq: Annotated[bool, Flag("ip-masq", "Masquerade what leaves the default network")] = True
    fixed_cidr: Annotated[
        str, Flag("fixed-cidr", "Part of the default network that addresses are chosen from")
    ] = ""
    default_gateway: Annotated[
        str, Flag("default-gateway", "Gateway of the default network's containers; empty: its bridge")
    ] = ""
    ipv6: Annotated[bool, Flag("ipv6", "Give the default network IPv6")] = False
    fixed_cidr_v6: Annotated[
        str, Flag("fixed-cidr-v6", "IPv6 subnet of the default network; empty: a local one is made up")
    ] = ""
    default_gateway_v6: Annotated[
        str, Flag("default-gateway-v6", "IPv6 gateway of the default network's containers; empty: its bridge")
    ] = ""
    host_gateway_ip: Annotated[
        str, Flag("host-gateway-ip", "Address that host-gateway stands for; empty: that of the bridge")
    ] = ""
    dns: Annotated[
        tuple[str, ...], Flag("dns", "Name server of containers that name none; empty: the host's")
    ] = ()
    dns_search: Annotated[
        tuple[str, ...], Flag("dns-search", "Search domain of containers that name none")
    ] = ()
    dns_opts: Annotated[
        tuple[str, ...], Flag("dns-opt", "Option for resolv.conf of containers that name none")
    ] = ()
    insecure_registries: Annotated[
        tuple[str, ...], Flag("insecure-registry", "Registry or network reached without checked TLS")
    ] = ()
    registry_mirrors: Annotated[
        tuple[str, ...], Flag("registry-mirror", "Mirror of Docker's own registry, asked before it")
    ] = ()
    cgroup_parent: Annotated[
        str, Flag("cgroup-parent", "Parent cgroup of containers that name none; empty: /docker")
    ] = ""
    default_runtime: Annotated[
        str, Flag("default-runtime", "OCI runtime of containers that name none; empty: crun or runc")
    ] = ""
    runtimes: Annotated[
        dict[str, OciRuntime], Flag("add-runtime", "Another OCI runtime, as in name=/path/to/it")
    ] = {}
    shutdown_timeout: Annotated[
        int, Flag("shutdown-timeout", "Seconds that requests under way get when the engine stops")
    ] = 15


FIXED: Mapping[str, tuple[Any, ...]] = {
    "experimental": (False,),
    "exec-opts": ([], ["native.cgroupdriver=cgroupfs"]),
    "init": (False,),
    "ip6tables": (True,),
    "iptables": (True,),
    "live-restore": (True,),
    "log-format": ("text",),
    "no-new-privileges": (False,),
    "selinux-enabled": (False,),
    "storage-driver": ("", "overlay2"),
    "storage-opts": ([],),
    "tls": (False,),
    "tlsverify": (False,),
    "userland-proxy": (False,),
}
"""dockerd's options that are accepted with these values only: they tell what this engine does anyway."""

REFUSED = frozenset(
    """
    allow-nondistributable-artifacts api-cors-header authorization-plugins bip6 builder cdi-spec-dirs
    cluster-advertise cluster-store cluster-store-opts containerd containerd-namespace
    containerd-plugin-namespace cpu-rt-period cpu-rt-runtime cri-containerd default-cgroupns-mode
    default-ipc-mode default-network-opts default-shm-size default-stop-timeout default-ulimits features
    firewall-backend host-gateway-ips http-proxy https-proxy init-path max-concurrent-downloads
    max-concurrent-uploads max-download-attempts metrics-addr min-api-version network-control-plane-mtu
    network-diagnostic-port no-proxy node-generic-resources proxies raw-logs rootless seccomp-profile
    swarm-default-advertise-addr swarm-raft-election-tick swarm-raft-heartbeat-tick tlscacert tlscert
    tlskey userland-proxy-path userns-remap
    """.split()  # noqa: SIM905 a list of words reads best as words
)
"""dockerd's options that change nothing here yet. Source: dockerd 20.10.24 and moby's daemon/config."""

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}
"""dockerd's names of log levels, as the standard library counts them."""

_MERGED = frozenset({"runtimes"})  # given by flag and file, these are joined: dockerd does so too


@dataclass(frozen=True)
class Option:
    """One field of `EngineConfig` as the command line and the documents see it."""

    key: str  # in daemon.json
    flag: Flag
    kind: Any  # the field's type, without Annotated
    default: Any

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given several times."""
        return get_origin(self.kind) in (tuple, dict)


def options() -> tuple[Option, ...]:
    """All options in the order in which the documents show them."""
    hints = get_type_hints(EngineConfig, include_extras=True)
    blank = EngineConfig()
    return tuple(
        Option(
            key=field.encode_name,
            flag=get_args(hints[field.name])[1],
            kind=get_args(hints[field.name])[0],
            default=getattr(blank, field.name),
        )
        for field in msgspec.structs.fields(EngineConfig)
    )


def configure(flags: Mapping[str, Any], file: bytes | None, file_name: str = "") -> EngineConfig:
    """The configuration from the options given as flags (by key, in the file's shape) and daemon.json.

    Raises: InvalidParameter in dockerd's words for broken JSON, unknown keys, conflicts and bad values.
    """
    given = _read(file, file_name) if file is not None else {}
    conflicts = [
        f"{key}: (from flag: {_as_go(flags[key])}, from file: {_as_go(given[key])})"
        for key in flags
        if key in given and key not in _MERGED
    ]
    if conflicts:
        raise InvalidParameter(
            f"unable to configure the Docker daemon with file {file_name}: the following directives are "
            f"specified both as a flag and in the configuration file: {', '.join(conflicts)}"
        )
    merged = {**given, **flags}
    for key in _MERGED & given.keys() & flags.keys():
        merged[key] = {**given[key], **flags[key]}
    try:
        config = msgspec.convert({key: merged[key] for key in merged if key not in FIXED}, EngineConfig)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"unable to configure the Docker daemon: {error}") from error
    validate(config)
    return config


def refuse(key: str, value: Any) -> None:
    """Raise InvalidParameter if `key` is one of dockerd's options that cannot have `value` here."""
    if key in REFUSED:
        raise InvalidParameter(f"the option {key} is not implemented yet")
    if key in FIXED and value not in FIXED[key]:
        only = " or ".join(_as_go(known) for known in FIXED[key] if known not in ("", []))
        raise InvalidParameter(
            f"{key}: {_as_go(value)} is not implemented yet" + (f" (only {only})" if only else "")
        )


def _read(file: bytes, name: str) -> dict[str, Any]:
    where = f"unable to configure the Docker daemon with file {name}"
    if not (text := file.removeprefix(b"\xef\xbb\xbf").strip()):
        return {}
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"{where}: invalid JSON: {error}") from error
    known = {option.key for option in options()} | REFUSED | FIXED.keys()
    if unknown := sorted(given.keys() - known):
        raise InvalidParameter(
            f"{where}: the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    for key, value in given.items():
        try:
            refuse(key, value)
        except InvalidParameter as error:
            raise InvalidParameter(f"{where}: {error}") from None
    return given


def _as_go(value: Any) -> str:
    """The value as Go's %v prints it, since dockerd's text does so."""
    match value:
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{' '.join(_as_go(each) for each in value)}]"
        case dict():
            return f"map[{' '.join(f'{key}:{_as_go(value[key])}' for key in sorted(value))}]"
    return str(value)


def validate(config: EngineConfig) -> None:
    """Raise InvalidParameter, in dockerd's words, for a value that cannot be meant."""
    if config.log_level not in LEVELS:
        raise InvalidParameter(f"invalid logging level: {config.log_level}")
    if config.mtu < 0:
        raise InvalidParameter(f"invalid default MTU: {config.mtu}")
    if config.shutdown_timeout < 0:
        raise InvalidParameter(f"invalid shutdown timeout: {config.shutdown_timeout}")
    if not config.hosts:
        raise InvalidParameter("hosts: at least one address to listen on is needed")
    for path in (config.data_root, config.exec_root, config.pidfile):
        if not path.startswith("/"):
            raise InvalidParameter(f"{path!r} must be an absolute path")
    conflict_free_labels(config.labels)
    for registry in config.insecure_registries:
        _validate_registry(registry)
    for mirror in config.registry_mirrors:
        check_mirror(mirror)
    _validate_bridge(config)
    for name, runtime in config.runtimes.items():
        if not runtime.path.startswith("/"):
            raise InvalidParameter(f"the path of runtime {name} must be absolute: {runtime.path!r}")


def conflict_free_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The engine's labels without repetitions.

    Raises: InvalidParameter for one that is no key=value, and for two that differ in their values only.
    """
    values: dict[str, str] = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not key or not equals:
            raise InvalidParameter(f"bad attribute format: {label}")
        if values.setdefault(key, value) != value:
            raise InvalidParameter(f"conflict labels for {key}={value} and {key}={values[key]}")
    return tuple(f"{key}={value}" for key, value in values.items())


def _validate_bridge(config: EngineConfig) -> None:
    if config.bridge == "none":
        raise InvalidParameter("an engine without the default bridge (bridge: none) is not implemented yet")
    if not re.fullmatch(r"[^\s/:]{1,15}", config.bridge):
        raise InvalidParameter(
            f"invalid bridge name: {config.bridge!r} (1 to 15 bytes, no space, slash or colon)"
        )
    try:
        ipaddress.IPv4Address(config.ip)
        if config.bip:
            ipaddress.IPv4Interface(config.bip)
        if config.fixed_cidr:
            ipaddress.IPv4Network(config.fixed_cidr)
        if config.fixed_cidr_v6:
            ipaddress.IPv6Network(config.fixed_cidr_v6)
        for address in (
            config.default_gateway,
            config.default_gateway_v6,
            config.host_gateway_ip,
            *config.dns,
        ):
            if address:
                ipaddress.ip_address(address)
        for pool in config.default_address_pools:
            if ipaddress.IPv4Network(pool.base).prefixlen > pool.size or pool.size > 30:
                raise InvalidParameter(f"invalid address pool: no network of size {pool.size} in {pool.base}")
    except ValueError as error:
        raise InvalidParameter(f"invalid CIDR address: {error}") from error


def _validate_registry(registry: str) -> None:
    """A network, or a host with or without a port. Raises: InvalidParameter."""
    try:
        if "/" in registry:
            ipaddress.ip_network(registry)
            return
    except ValueError as error:
        raise InvalidParameter(f"insecure registry {registry} is not valid: {error}") from error
    if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+)(:\d{1,5})?", registry):
        raise InvalidParameter(f"insecure registry {registry} is not valid: invalid host {registry!r}")
