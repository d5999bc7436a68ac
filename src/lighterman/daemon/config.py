"""What an operator can wish: dockerd's options, and what each is here.

An *option* is a field of `EngineConfig`: its name in kebab case is dockerd's key in daemon.json, and its
`Flag` is how the command line calls it; the command line, the reading of the file, the check for conflicts
(`configure.py`) and docs/configuration.md all come from the fields. An option of dockerd's that changes
nothing here is refused by its name (`REFUSED`), never passed over. Some are accepted with the one value that
tells what this engine does anyway (`FIXED`), since daemon.json files in the wild hold them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from lighterman.errdefs import InvalidParameter

DEFAULT_CONFIG_FILE = Path("/etc/docker/daemon.json")


class Flag(Struct, frozen=True):
    """How the command line calls an option."""

    name: str  # without the dashes; "": it is for the file alone
    help: str
    short: str = ""


def _without_underscores(name: str) -> str:
    return name.replace("_", "")


class AddressPool(Struct, frozen=True, forbid_unknown_fields=True):
    """Networks without a wished subnet are cut from `base` with a prefix of `size` bits."""

    base: str
    size: int


class UlimitRange(Struct, frozen=True, rename="pascal", forbid_unknown_fields=True):
    """A limit of processes: what holds, and up to what they may raise it; -1 is none."""

    name: str = ""
    hard: int = 0
    soft: int = 0


class OciRuntime(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Another OCI runtime that containers can ask for by name: its program, a path or a name in PATH."""

    path: str
    runtime_args: tuple[str, ...] = ()


class BuilderRule(Struct, frozen=True, rename=_without_underscores, forbid_unknown_fields=True):
    """What of builds may go, and how much of it may stay: `keepStorage`, today `reservedSpace`."""

    all: bool = False
    filter: tuple[str, ...] | dict[str, dict[str, bool]] = ()
    keep_storage: str = ""
    reserved_space: str = ""


class BuilderGC(Struct, frozen=True, rename=_without_underscores, forbid_unknown_fields=True):
    """Whether, and by which rules, what builds leave is kept within bounds."""

    enabled: bool = False
    default_keep_storage: str = ""
    default_reserved_space: str = ""
    policy: tuple[BuilderRule, ...] | None = None


class Builder(Struct, frozen=True, rename=_without_underscores, forbid_unknown_fields=True):
    """What the operator decides about builds."""

    gc: BuilderGC = BuilderGC()


class EngineConfig(Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Everything that the operator decides. Source: dockerd(8), 20.10 and later; ours are marked so."""

    hosts: Annotated[
        tuple[str, ...],
        Flag("host", "Where to listen: unix:///path, tcp://127.0.0.1:port, fd:// (systemd)", "H"),
    ] = ("unix:///var/run/docker.sock",)
    group: Annotated[str, Flag("group", "Group that may use the unix sockets", "G")] = "docker"
    insecure_tcp: Annotated[
        bool, Flag("insecure-tcp", "Listen on tcp:// beyond loopback: whoever reaches it is root here (ours)")
    ] = False
    restricted_hosts: Annotated[
        tuple[str, ...],
        Flag(
            "restricted-host",
            "Where to listen for clients that may do less, as in unix:///path?role=read-only (ours)",
        ),
    ] = ()
    audit_log: Annotated[
        str, Flag("audit-log", "File that gets a line for each change: who, what, the answer (ours)")
    ] = ""
    data_root: Annotated[str, Flag("data-root", "Directory of what must survive")] = "/var/lib/lighterman"
    exec_root: Annotated[str, Flag("exec-root", "Directory of running state, best on a tmpfs")] = (
        "/run/lighterman"
    )
    pidfile: Annotated[str, Flag("pidfile", "File that holds the engine's process id", "p")] = (
        "/run/lighterman.pid"
    )
    tls: Annotated[
        bool | None, Flag("tls", "Speak TLS on tcp://; implied by tlsverify. false says plain TCP is meant")
    ] = None
    tlsverify: Annotated[
        bool | None,
        Flag("tlsverify", "Serve only clients with a certificate of tlscacert; false: anybody"),
    ] = None
    tlscacert: Annotated[
        str, Flag("tlscacert", "Certificate of the authority of clients; empty: ca.pem of DOCKER_CERT_PATH")
    ] = ""
    tlscert: Annotated[str, Flag("tlscert", "The engine's certificate; empty: cert.pem beside it")] = ""
    tlskey: Annotated[str, Flag("tlskey", "The key of that certificate; empty: key.pem beside it")] = ""
    api_max: Annotated[
        str, Flag("api-max", "Newest version of the API that is served, as in 1.36 (ours)")
    ] = "1.44"
    min_api_version: Annotated[str, Flag("min-api-version", "Oldest version of the API that is served")] = (
        "1.24"
    )
    metrics_addr: Annotated[
        str, Flag("metrics-addr", "Address and port that serve /metrics for Prometheus, as in 127.0.0.1:9323")
    ] = ""
    status: Annotated[
        str,
        Flag("status", "Address of a page that shows the engine to a browser: tcp://127.0.0.1:2379 (ours)"),
    ] = ""
    volume_trash: Annotated[
        int, Flag("volume-trash", "Seconds that pruned volumes can be brought back; 0: they are gone (ours)")
    ] = 0
    max_connections: Annotated[
        int,
        Flag(
            "max-connections",
            "Clients that may be connected at a time, if there are descriptors for them (ours)",
        ),
    ] = 10000
    debug: Annotated[
        bool, Flag("debug", "Log each step and every stall of the event loop, and serve /debug", "D")
    ] = False
    log_level: Annotated[str, Flag("log-level", "debug, info, warn, error or fatal", "l")] = "info"
    log_format: Annotated[str, Flag("log-format", "text, or json: an object a line")] = "text"
    experimental: Annotated[
        bool, Flag("experimental", "Say that experiments are on; none is behind it here")
    ] = False
    features: Annotated[
        dict[str, bool], Flag("feature", "Switches of dockerd as they stand here: buildkit=false")
    ] = {}
    oom_score_adjust: Annotated[
        int,
        Flag("oom-score-adjust", "How soon the kernel kills the engine when memory ends, -1000 to 1000"),
    ] = 0
    http_proxy: Annotated[
        str, Flag("http-proxy", "Proxy for http:// registries; empty: the environment's")
    ] = ""
    https_proxy: Annotated[
        str, Flag("https-proxy", "Proxy for https:// registries; empty: the environment's")
    ] = ""
    no_proxy: Annotated[
        str, Flag("no-proxy", "Hosts that are reached without a proxy; empty: the environment's")
    ] = ""
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
    default_network_opts: Annotated[
        dict[str, dict[str, str]],
        Flag(
            "default-network-opt",
            "Option of new networks of a driver, as in bridge=com.docker.network.driver.mtu=1400",
        ),
    ] = {}
    icc: Annotated[bool, Flag("icc", "Let containers of the default network reach each other")] = True
    ip: Annotated[str, Flag("ip", "Host address of published ports that name none")] = "0.0.0.0"
    ip_forward: Annotated[bool, Flag("ip-forward", "Switch on IPv4 forwarding of the host")] = True
    ip_masq: Annotated[bool, Flag("ip-masq", "Masquerade what leaves the default network")] = True
    iptables: Annotated[
        bool,
        Flag("iptables", "Keep a table in the host's firewall; false: touch none, relay published ports"),
    ] = True
    ip6tables: Annotated[
        bool | None, Flag("ip6tables", "The same for IPv6 alone; unset: as iptables says")
    ] = None
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
    host_gateway_ips: Annotated[
        tuple[str, ...],
        Flag(
            "host-gateway-ip",
            "Address that host-gateway stands for, one of IPv4 and one of IPv6; empty: those of the bridge",
        ),
    ] = ()
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
    max_concurrent_downloads: Annotated[
        int, Flag("max-concurrent-downloads", "Layers that are downloaded at a time; 0: no limit")
    ] = 3
    max_concurrent_uploads: Annotated[
        int, Flag("max-concurrent-uploads", "Layers that are uploaded at a time; 0: no limit")
    ] = 5
    max_download_attempts: Annotated[
        int, Flag("max-download-attempts", "Connections to get one layer before a pull fails")
    ] = 5
    builder: Annotated[Builder, Flag("", "Bounds of what builds leave to be used again: below")] = Builder()
    cgroup_parent: Annotated[
        str, Flag("cgroup-parent", "Parent cgroup of containers that name none; empty: /docker")
    ] = ""
    default_runtime: Annotated[
        str, Flag("default-runtime", "OCI runtime of containers that name none; empty: crun or runc")
    ] = ""
    runtimes: Annotated[
        dict[str, OciRuntime], Flag("add-runtime", "Another OCI runtime, as in name=/path/to/it")
    ] = {}
    default_ulimits: Annotated[
        dict[str, UlimitRange],
        Flag("default-ulimit", "Limit of containers that do not name it, as in nofile=1024:4096"),
    ] = {}
    default_shm_size: Annotated[
        str, Flag("default-shm-size", "Size of /dev/shm of containers that name none")
    ] = "64m"
    default_ipc_mode: Annotated[
        str, Flag("default-ipc-mode", "IPC mode of containers that name none: private or shareable")
    ] = "private"
    default_cgroupns_mode: Annotated[
        str,
        Flag(
            "default-cgroupns-mode",
            "Cgroup namespace of containers that name none: private or host; empty: private on cgroup v2",
        ),
    ] = ""
    default_stop_timeout: Annotated[
        int,
        Flag(
            "default-stop-timeout",
            "Seconds that containers which name none have to stop, before they are killed",
        ),
    ] = 10
    no_new_privileges: Annotated[
        bool, Flag("no-new-privileges", "Let no process of new containers gain privileges")
    ] = False
    seccomp_profile: Annotated[
        str,
        Flag(
            "seccomp-profile",
            "File with the seccomp profile of containers that name none, or unconfined; "
            "empty: the engine's own",
        ),
    ] = ""
    userns_remap: Annotated[
        str,
        Flag(
            "userns-remap",
            "Whose subordinate ids containers have as theirs: default (dockremap), user[:group] or uid[:gid]",
        ),
    ] = ""
    init: Annotated[bool, Flag("init", "Run an init in new containers that do not say otherwise")] = False
    init_path: Annotated[
        str, Flag("init-path", "Program that is that init; empty: tini-static or docker-init of PATH")
    ] = ""
    swarm_default_advertise_addr: Annotated[
        str,
        Flag(
            "swarm-default-advertise-addr",
            "Address or interface where nodes of a swarm find this one, if init does not say",
        ),
    ] = ""
    swarm_raft_heartbeat_tick: Annotated[
        int,
        Flag("swarm-raft-heartbeat-tick", "Ticks (0.1 s) between a leading manager's signs; 0: as its swarm"),
    ] = 0
    swarm_raft_election_tick: Annotated[
        int, Flag("swarm-raft-election-tick", "Ticks (0.1 s) until a manager misses them; 0: as its swarm")
    ] = 0
    node_generic_resources: Annotated[
        tuple[str, ...],
        Flag("node-generic-resource", "What tasks of a swarm may reserve here, as KIND=NAME or KIND=NUMBER"),
    ] = ()
    authorization_plugins: Annotated[
        tuple[str, ...],
        Flag("authorization-plugin", "Plugin that is asked before a request is answered, and after"),
    ] = ()
    plugin_directories: Annotated[
        tuple[str, ...],
        Flag(
            "plugin-directory",
            "Where plugins of the host announce themselves: sockets in the first, texts in the others (ours)",
        ),
    ] = ("/run/docker/plugins", "/etc/docker/plugins", "/usr/lib/docker/plugins")
    plugin_timeout: Annotated[
        int, Flag("plugin-timeout", "Seconds that a plugin has for an answer; 0: as the call allows (ours)")
    ] = 0
    shutdown_timeout: Annotated[
        int, Flag("shutdown-timeout", "Seconds that requests under way get when the engine stops")
    ] = 15

    @property
    def uses_tls(self) -> bool:
        """Whether TCP is encrypted: a tlsverify, even a false one, implies it. Source: dockerd(8)."""
        return bool(self.tls) or self.tlsverify is not None

    @property
    def has_ip6tables(self) -> bool:
        """Whether the table in the firewall is for IPv6 too."""
        return self.iptables if self.ip6tables is None else self.ip6tables

    @property
    def verifies_clients(self) -> bool:
        """Whether clients of TCP must show a certificate."""
        return self.uses_tls and self.tlsverify is not False

    @property
    def may_listen_anywhere(self) -> bool:
        """Whether TCP beyond loopback is safe, or meant to be open."""
        return self.verifies_clients or self.insecure_tcp or self.tls is False or self.tlsverify is False


FIXED: Mapping[str, tuple[Any, ...]] = {
    "exec-opts": ([], ["native.cgroupdriver=cgroupfs"]),
    "firewall-backend": ("", "nftables"),
    "live-restore": (True,),
    "raw-logs": (True, False),
    "rootless": (False,),
    "selinux-enabled": (False,),
    "storage-driver": ("", "overlay2"),
    "storage-opts": ([],),
    "userland-proxy": (True, False),
}
"""dockerd's options that are accepted with these values only: they tell what this engine does anyway."""

_NO_CONTAINERD = "there is no containerd below this engine"
_NO_STORE = "stores of clusters are gone from dockerd too; a swarm keeps its own"
REFUSED: Mapping[str, str] = {
    "allow-nondistributable-artifacts": "layers that must not be distributed are never pushed",
    "api-cors-header": "requests from web pages are refused",
    "bip6": "fixed-cidr-v6 and default-gateway-v6 say it",
    "cdi-spec-dirs": "descriptions of devices (CDI) are not read: --device names the devices themselves",
    "cluster-advertise": _NO_STORE,
    "cluster-store": _NO_STORE,
    "cluster-store-opts": _NO_STORE,
    "containerd": _NO_CONTAINERD,
    "containerd-namespace": _NO_CONTAINERD,
    "containerd-plugin-namespace": _NO_CONTAINERD,
    "cpu-rt-period": "the parents of a container get what it asks for",
    "cpu-rt-runtime": "the parents of a container get what it asks for",
    "cri-containerd": _NO_CONTAINERD,
    "network-control-plane-mtu": "nodes do not gossip: what they tell each other goes over TCP",
    "network-diagnostic-port": "nothing listens there",
    "userland-proxy-path": "there is no userland proxy",
}
"""dockerd's options that change nothing here, and why. Source: dockerd 20.10.24 and moby's daemon/config."""

NESTED = {"proxies": ("http-proxy", "https-proxy", "no-proxy")}
"""Keys of daemon.json that hold further ones, which are flags of their own. Source: moby, daemon/config."""

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}
"""dockerd's names of log levels, as the standard library counts them."""


class Option(Struct, frozen=True):
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


def refuse(key: str, value: Any) -> None:
    """Raise InvalidParameter if `key` is one of dockerd's options that cannot have `value` here."""
    if key in REFUSED:
        raise InvalidParameter(f"the option {key} cannot be used: {REFUSED[key]}")
    if key in FIXED and value not in FIXED[key]:
        only = " or ".join(as_go(known) for known in FIXED[key] if known not in ("", []))
        raise InvalidParameter(f"{key}: {as_go(value)} cannot be used" + (f" (only {only})" if only else ""))


def as_go(value: Any) -> str:
    """The value as Go's %v prints it, since dockerd's text does so."""
    match value:
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{' '.join(as_go(each) for each in value)}]"
        case dict():
            return f"map[{' '.join(f'{key}:{as_go(value[key])}' for key in sorted(value))}]"
    return str(value)
