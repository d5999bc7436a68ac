"""Flags and daemon.json become one configuration, or are refused in dockerd's words."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.registry.secured import identity

from lighterman.daemon.config import (
    FIXED,
    REFUSED,
    AddressPool,
    EngineConfig,
    OciRuntime,
    UlimitRange,
    options,
)
from lighterman.daemon.configure import configure
from lighterman.daemon.wiring import container_settings, network_config, runtime_commands
from lighterman.errdefs import InvalidParameter

NAME = "/etc/docker/daemon.json"


def refusal(flags: dict[str, Any], **file: Any) -> str:
    with pytest.raises(InvalidParameter) as caught:
        configure(flags, json.dumps(file).encode(), NAME)
    return str(caught.value)


def test_without_wishes_the_defaults_hold() -> None:
    config = configure({}, None)
    assert config == EngineConfig()
    assert config.hosts == ("unix:///var/run/docker.sock",)
    assert (config.data_root, config.exec_root) == ("/var/lib/lighterman", "/run/lighterman")


@pytest.mark.parametrize("blank", [b"", b" \n", b"{}", b"\xef\xbb\xbf{}"])
def test_a_blank_file_wishes_nothing(blank: bytes) -> None:
    assert configure({}, blank, NAME) == EngineConfig()


def test_the_file_uses_the_keys_of_dockerd() -> None:
    file = {
        "hosts": ["unix:///run/a.sock", "tcp://127.0.0.1:2375"],
        "log-opts": {"max-size": "10m"},
        "default-address-pools": [{"base": "10.10.0.0/16", "size": 24}],
        "insecure-registries": ["10.0.0.0/8"],
        "runtimes": {"kata": {"path": "/usr/bin/kata"}},
        "icc": False,
        "mtu": 1400,
    }
    config = configure({}, json.dumps(file).encode(), NAME)
    assert config.hosts == ("unix:///run/a.sock", "tcp://127.0.0.1:2375")
    assert config.log_opts == {"max-size": "10m"}
    assert config.default_address_pools == (AddressPool("10.10.0.0/16", 24),)
    assert config.insecure_registries == ("10.0.0.0/8",)
    assert config.runtimes == {"kata": OciRuntime("/usr/bin/kata")}
    assert (config.icc, config.mtu) == (False, 1400)


def test_an_option_given_twice_is_a_conflict_even_if_both_agree() -> None:
    text = refusal({"hosts": ["unix:///a"], "mtu": 1400, "debug": True}, hosts=["unix:///a"], mtu=1500)
    assert text == (
        f"unable to configure the Docker daemon with file {NAME}: the following directives are specified "
        "both as a flag and in the configuration file: hosts: (from flag: [unix:///a], "
        "from file: [unix:///a]), "
        "mtu: (from flag: 1400, from file: 1500)"
    )


@pytest.mark.parametrize(
    ("value", "told"), [({"b": "2", "a": "1"}, "map[a:1 b:2]"), (True, "true"), ([], "[]"), (5, "5")]
)
def test_a_conflict_shows_values_as_go_does(value: Any, told: str) -> None:
    assert f"(from flag: {told}, from file: {told})" in refusal({"log-opts": value}, **{"log-opts": value})


def test_runtimes_may_have_arguments_and_a_name_alone() -> None:
    file = json.dumps({"runtimes": {"a": {"path": "runc", "runtimeArgs": ["--debug"]}}}).encode()
    config = configure({}, file, NAME)
    assert config.runtimes == {"a": OciRuntime("runc", ("--debug",))}
    assert runtime_commands(config)["a"][1:] == ("--debug",)


def test_a_part_of_the_default_network_may_be_told_by_an_address_in_it() -> None:
    config = configure({"fixed-cidr": "172.27.42.1/16", "fixed-cidr-v6": "fd00::1/64"}, None)
    found = network_config(config)
    assert (found.fixed_cidr, found.fixed_cidr_v6) == ("172.27.0.0/16", "fd00::/64")


def test_what_a_log_driver_needs_may_be_left_to_each_container() -> None:
    assert container_settings(configure({"log-driver": "splunk"}, None), None).log_driver == "splunk"
    with pytest.raises(InvalidParameter, match="expected format scheme"):
        container_settings(configure({"log-driver": "splunk", "log-opts": {"splunk-url": "x"}}, None), None)


def test_runtimes_of_flags_and_file_are_joined() -> None:
    file = json.dumps({"runtimes": {"a": {"path": "/a"}}}).encode()
    config = configure({"runtimes": {"b": {"path": "/b"}}}, file, NAME)
    assert config.runtimes == {"a": OciRuntime("/a"), "b": OciRuntime("/b")}


def test_unknown_keys_are_named() -> None:
    assert refusal({}, nope=1, mtuu=2) == (
        f"unable to configure the Docker daemon with file {NAME}: the following directives don't match any "
        "configuration option: mtuu, nope"
    )


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_does_not_act_is_refused_by_its_name_with_the_reason(key: str) -> None:
    assert refusal({}, **{key: "x"}).endswith(f"the option {key} cannot be used: {REFUSED[key]}")


@pytest.mark.parametrize(("key", "values"), FIXED.items())
def test_what_the_engine_does_anyway_may_be_said_and_nothing_else(key: str, values: tuple[Any, ...]) -> None:
    for value in values:
        assert configure({}, json.dumps({key: value}).encode(), NAME) == EngineConfig()
    other = next(each for each in (True, False, ["other"], "other") if each not in values)
    assert "cannot be used" in refusal({}, **{key: other})


def test_no_option_is_both_known_and_refused() -> None:
    keys = {option.key for option in options()}
    assert not keys & REFUSED.keys()
    assert not keys & FIXED.keys()
    assert not REFUSED.keys() & FIXED.keys()


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ({"mtu": -1}, "invalid default MTU: -1"),
        ({"iptables": False, "icc": False}, "You specified --iptables=false with --icc=false. ICC=false us"),
        ({"iptables": False, "ip6tables": True}, "ip6tables cannot be used without iptables: one table is"),
        ({"ip6tables": False, "icc": False, "ipv6": True}, "icc: false cannot be used with ipv6 and without"),
        ({"log-level": "loud"}, "invalid logging level: loud"),
        ({"labels": ["alone"]}, "bad attribute format: alone"),
        ({"labels": ["a=1", "a=2"]}, "conflict labels for a=2 and a=1"),
        ({"hosts": []}, "hosts: at least one address to listen on is needed"),
        ({"data-root": "var"}, "'var' must be an absolute path"),
        ({"bip": "172.17.0.1/99"}, "invalid CIDR address: '99' is not a valid netmask"),
        ({"bridge": "far-too-long-a-name"}, "invalid bridge name: 'far-too-long-a-name' (1 to 15 bytes"),
        ({"bridge": "none"}, "an engine without the default bridge (bridge: none) is not implemented yet"),
        ({"runtimes": {"x": {"path": ""}}}, "the runtime x has no path"),
        ({"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}, "invalid address pool: no network"),
        ({"mtu": "1500"}, "unable to configure the Docker daemon: Expected `int`, got `str` - at `$.mtu`"),
        ({"insecure-registries": ["10.0.0.1/8"]}, "insecure registry 10.0.0.1/8 is not valid: "),
        ({"insecure-registries": ["http://x"]}, "insecure registry http://x is not valid: "),
        ({"api-max": "1.45"}, "invalid API version: '1.45' (known are 1.24 to 1.44)"),
        ({"min-api-version": "1.40", "api-max": "1.36"}, "min-api-version 1.40 is above api-max 1.36"),
        ({"default-ipc-mode": "host"}, "IPC mode: host is not supported; use private or shareable"),
        ({"default-cgroupns-mode": "x"}, "invalid default cgroup namespace (x): use 'host' or 'private'"),
        ({"default-shm-size": "much"}, "invalid size: 'much'"),
        ({"default-ulimits": {"x": {"Hard": 1, "Soft": 1}}}, "invalid ulimit type: x"),
        ({"default-ulimits": {"core": {"Hard": 1, "Soft": 2}}}, "ulimit soft limit must be less than or"),
        ({"features": {"warp": True}}, "the feature warp cannot be used with true"),
        ({"max-download-attempts": 0}, "invalid max download attempts: 0"),
        (
            {"builder": {"gc": {"enabled": True, "defaultKeepStorage": "much"}}},
            "builder.gc: invalid size: 'm",
        ),
        ({"builder": {"gc": {"enabled": True, "policy": [{"filter": ["x=y"]}]}}}, "Invalid filter 'x'"),
        ({"builder": {"entitlements": {}}}, "unable to configure the Docker daemon: Object contains unknown"),
        ({"default-stop-timeout": -1}, "invalid default stop timeout: -1"),
        ({"host-gateway-ips": ["10.0.0.1", "10.0.0.2"]}, "only one IPv4 host gateway IP address can be"),
        ({"default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1"}}}, "invalid MTU number"),
        ({"max-concurrent-uploads": -1}, "invalid max concurrent uploads: -1"),
        ({"oom-score-adjust": 1001}, "invalid oom-score-adjust: 1001"),
        ({"log-format": "xml"}, "invalid log format: xml"),
        ({"metrics-addr": "here"}, "invalid metrics-addr: invalid bind address (here): no IP address: here"),
        ({"status": "unix:///x"}, "invalid status address (unix:///x): name a TCP address and its port"),
        ({"status": "tcp://127.0.0.1"}, "invalid status address (tcp://127.0.0.1): name a TCP address and"),
        ({"status": "tcp://0.0.0.0:2379"}, "tcp://0.0.0.0:2379: without tlsverify whoever reaches"),
        (
            {"status": "tcp://127.0.0.1:2379", "hosts": ["tcp://127.0.0.1:2379"]},
            "status: tcp://127.0.0.1:2379 is where the API is served",
        ),
        ({"default-runtime": "kata"}, "specified default runtime 'kata' does not exist"),
        ({"hosts": ["tcp://0.0.0.0:1"]}, "tcp://0.0.0.0:1: without tlsverify whoever reaches"),
        ({"tlsverify": True, "tlscert": "/no", "tlskey": "/no"}, 'Could not load X509 key pair (cert: "/no"'),
        ({"ip": "x"}, "invalid CIDR address: Expected 4 octets in 'x'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(wish: dict[str, Any], text: str) -> None:
    assert refusal({}, **wish).startswith(text)


@pytest.mark.parametrize("broken", [b"{", b"[]", b'{"mtu": 1} x', b"\xff"])
def test_a_broken_file_is_told_with_its_name(broken: bytes) -> None:
    with pytest.raises(
        InvalidParameter, match=f"^unable to configure the Docker daemon with file {NAME}: invalid"
    ):
        configure({}, broken, NAME)


def test_null_is_no_wish() -> None:
    assert configure({"mtu": 1400}, b'{"mtu": null, "hosts": null, "labels": null}', NAME).mtu == 1400


@pytest.mark.parametrize(
    ("wish", "hosts"),
    [
        ({"tls": True}, ("tcp://localhost:2376",)),
        ({"tlsverify": False}, ("tcp://localhost:2376",)),
        ({"tls": True, "hosts": ["unix:///var/run/docker.sock"]}, ("unix:///var/run/docker.sock",)),
        ({"tls": False}, ("unix:///var/run/docker.sock",)),
    ],
)
def test_who_speaks_tls_and_names_no_place_is_on_its_port(
    wish: dict[str, Any], hosts: tuple[str, ...], tmp_path: Path
) -> None:
    who = identity("localhost")
    (tmp_path / "cert.pem").write_bytes(who.pem)
    (tmp_path / "key.pem").write_bytes(who.key_pem)
    files = {"tlscert": "cert.pem", "tlskey": "key.pem", "tlscacert": "cert.pem"}
    assert configure({**wish, **files}, None, started_in=tmp_path).hosts == hosts


def test_labels_that_are_repeated_count_once() -> None:
    assert configure({"labels": ["a=1", "a=1"]}, None).labels == ("a=1", "a=1")


def test_proxies_of_the_file_are_the_flags_of_their_names() -> None:
    config = configure({}, json.dumps({"proxies": {"http-proxy": "http://p:1", "no-proxy": "a,b"}}).encode())
    assert (config.http_proxy, config.https_proxy, config.no_proxy) == ("http://p:1", "", "a,b")
    assert "http-proxy: (from flag: x, from file: y)" in refusal(
        {"http-proxy": "x"}, proxies={"http-proxy": "y"}
    )
    assert "proxies: expected an object" in refusal({}, proxies={"ftp-proxy": "y"})


@pytest.mark.parametrize(
    ("file", "addresses"),
    [
        ({"host-gateway-ip": "192.0.2.1"}, ("192.0.2.1",)),
        ({"host-gateway-ips": ["192.0.2.1", "fd00::1"]}, ("192.0.2.1", "fd00::1")),
    ],
)
def test_the_hosts_addresses_are_named_by_the_key_of_today_or_by_the_former(
    file: dict[str, Any], addresses: tuple[str, ...]
) -> None:
    assert configure({}, json.dumps(file).encode(), NAME).host_gateway_ips == addresses
    assert "host-gateway-ip and host-gateway-ips say the same" in refusal(
        {}, **{"host-gateway-ip": "192.0.2.1", "host-gateway-ips": ["192.0.2.1"]}
    )


@pytest.mark.parametrize("case", [str.lower, str.title])
def test_ulimits_have_their_keys_in_any_case(case: Any) -> None:
    limit = {case(key): value for key, value in (("name", "nofile"), ("hard", 20), ("soft", 10))}
    config = configure({}, json.dumps({"default-ulimits": {"nofile": limit}}).encode())
    assert config.default_ulimits == {"nofile": UlimitRange("nofile", hard=20, soft=10)}


@pytest.mark.parametrize(
    ("wish", "uses", "verifies", "anywhere"),
    [
        ({}, False, False, False),
        ({"tls": False}, False, False, True),
        ({"insecure-tcp": True}, False, False, True),
        ({"tls": True}, True, True, True),
        ({"tlsverify": True}, True, True, True),
        ({"tls": True, "tlsverify": False}, True, False, True),
        ({"tlsverify": False}, True, False, True),
    ],
)
def test_tcp_is_for_loopback_unless_clients_are_known_or_it_is_meant(
    wish: dict[str, bool], uses: bool, verifies: bool, anywhere: bool
) -> None:
    config = msgspec.convert(wish, EngineConfig)
    assert (config.uses_tls, config.verifies_clients, config.may_listen_anywhere) == (
        uses,
        verifies,
        anywhere,
    )


def test_files_are_named_from_where_the_engine_was_started(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    config = configure({"seccomp-profile": "profile.json"}, None, started_in=tmp_path)
    assert config.seccomp_profile == str(tmp_path / "profile.json")
    assert (
        configure({"seccomp-profile": "unconfined"}, None, started_in=tmp_path).seccomp_profile
        == "unconfined"
    )


def test_a_seccomp_profile_is_read_at_the_start(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    assert "opening seccomp profile" in refusal({}, **{"seccomp-profile": str(profile)})
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    assert configure({"seccomp-profile": str(profile)}, None).seccomp_profile == str(profile)
    profile.write_text("{")
    assert "seccomp" in refusal({}, **{"seccomp-profile": str(profile)})
