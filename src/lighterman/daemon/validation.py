"""Which values of options cannot be meant, in dockerd's words. The files that options name are read too."""

import ipaddress
import re

from lighterman.api import versions
from lighterman.daemon.certificates import tls_context
from lighterman.daemon.config import LEVELS, EngineConfig
from lighterman.daemon.container_defaults import container_defaults, seccomp_profile
from lighterman.daemon.generic_resources import generic_resources
from lighterman.daemon.listeners import (
    parse_hosts,
    parse_metrics_addr,
    parse_restricted_hosts,
    parse_status,
)
from lighterman.daemon.remap import parse_remap
from lighterman.errdefs import InvalidParameter
from lighterman.networks import DRIVERS, check_options
from lighterman.registry import check_mirror

FEATURES = {"buildkit": False, "containerd-snapshotter": False}
"""Switches of dockerd's `features` as they stand here: builds are the classic builder's."""


def validate(config: EngineConfig) -> None:
    """Raise InvalidParameter, in dockerd's words, for a value that cannot be meant."""
    if config.log_level not in LEVELS:
        raise InvalidParameter(f"invalid logging level: {config.log_level}")
    if config.log_format not in ("text", "json"):
        raise InvalidParameter(f"invalid log format: {config.log_format}")
    _validate_numbers(config)
    _validate_versions(config)
    container_defaults(config)
    parse_hosts(config)
    parse_restricted_hosts(config)
    parse_status(config)
    if config.metrics_addr:
        parse_metrics_addr(config.metrics_addr)
    tls_context(config)
    seccomp_profile(config)
    if config.userns_remap:
        parse_remap(config.userns_remap)
    for feature, wished in config.features.items():
        if FEATURES.get(feature) is not wished:
            raise InvalidParameter(f"the feature {feature} cannot be used with {str(wished).lower()}")
    if not config.hosts:
        raise InvalidParameter("hosts: at least one address to listen on is needed")
    for path in (
        config.data_root,
        config.exec_root,
        config.pidfile,
        config.init_path or "/",
        config.audit_log or "/",
    ):
        if not path.startswith("/"):
            raise InvalidParameter(f"{path!r} must be an absolute path")
    conflict_free_labels(config.labels)
    generic_resources(config.node_generic_resources)
    _validate_ticks(config)
    for registry in config.insecure_registries:
        _validate_registry(registry)
    for mirror in config.registry_mirrors:
        check_mirror(mirror)
    _validate_bridge(config)
    _validate_firewall(config)
    _validate_networks(config)
    if config.builder.gc.enabled:
        from lighterman.daemon.build_rules import build_rules  # brings in the room of builds

        build_rules(config)
    if config.default_runtime not in ("", "crun", "runc", *config.runtimes):
        raise InvalidParameter(f"specified default runtime '{config.default_runtime}' does not exist")
    for name, runtime in config.runtimes.items():
        if not runtime.path:
            raise InvalidParameter(f"the runtime {name} has no path")


def _validate_firewall(config: EngineConfig) -> None:
    if config.ip6tables and not config.iptables:
        raise InvalidParameter("ip6tables cannot be used without iptables: one table is for both")
    if not (config.iptables or config.icc):
        raise InvalidParameter(
            "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. "
            "Please set --icc or --iptables to true"
        )
    if config.ipv6 and not (config.has_ip6tables or config.icc):
        raise InvalidParameter("icc: false cannot be used with ipv6 and without ip6tables")


def _validate_numbers(config: EngineConfig) -> None:
    for value, lowest, name in (
        (config.mtu, 0, "default MTU"),
        (config.shutdown_timeout, 0, "shutdown timeout"),
        (config.default_stop_timeout, 0, "default stop timeout"),
        (config.max_concurrent_downloads, 0, "max concurrent downloads"),
        (config.max_concurrent_uploads, 0, "max concurrent uploads"),
        (config.max_download_attempts, 1, "max download attempts"),
        (config.max_connections, 1, "max connections"),
        (config.volume_trash, 0, "volume trash"),
    ):
        if value < lowest:
            raise InvalidParameter(f"invalid {name}: {value}")
    if not -1000 <= config.oom_score_adjust <= 1000:
        raise InvalidParameter(f"invalid oom-score-adjust: {config.oom_score_adjust}")


def _validate_versions(config: EngineConfig) -> None:
    if versions.parse(config.min_api_version) > versions.parse(config.api_max):
        raise InvalidParameter(
            f"min-api-version {config.min_api_version} is above api-max {config.api_max}: none is served"
        )


def _validate_ticks(config: EngineConfig) -> None:
    """Raises: InvalidParameter for what etcd cannot work with."""
    heartbeat, election = config.swarm_raft_heartbeat_tick, config.swarm_raft_election_tick
    for name, ticks, most in (("heartbeat", heartbeat, 100), ("election", election, 500)):
        if not 0 <= ticks <= most:
            raise InvalidParameter(f"swarm-raft-{name}-tick: {ticks} is not between 0 and {most}")
    if heartbeat and election and election < 5 * heartbeat:
        raise InvalidParameter(
            f"swarm-raft-election-tick ({election}) must be at least five times swarm-raft-heartbeat-tick "
            f"({heartbeat})"
        )


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
            ipaddress.IPv4Network(subnet_of(config.fixed_cidr))
        if config.fixed_cidr_v6:
            ipaddress.IPv6Network(subnet_of(config.fixed_cidr_v6))
        for address in (
            config.default_gateway,
            config.default_gateway_v6,
            *config.host_gateway_ips,
            *config.dns,
        ):
            if address:
                ipaddress.ip_address(address)
        for pool in config.default_address_pools:
            if ipaddress.IPv4Network(pool.base).prefixlen > pool.size or pool.size > 30:
                raise InvalidParameter(f"invalid address pool: no network of size {pool.size} in {pool.base}")
    except ValueError as error:
        raise InvalidParameter(f"invalid CIDR address: {error}") from error


def subnet_of(text: str) -> str:
    """The subnet that an address with a prefix is in, "" of "". Raises: ValueError."""
    return str(ipaddress.ip_network(text, strict=False)) if text else ""


def _validate_networks(config: EngineConfig) -> None:
    for version in (4, 6):
        if sum(ipaddress.ip_address(each).version == version for each in config.host_gateway_ips) > 1:
            raise InvalidParameter(f"only one IPv{version} host gateway IP address can be specified")
    for driver, wished in config.default_network_opts.items():
        if driver in DRIVERS:  # those of a plugin are its own affair
            check_options(wished, driver)


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
