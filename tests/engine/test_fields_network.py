"""Fields that concern the network, looked at from inside: links, addresses, ports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.inside import inside, refused, running, seen
from tests.support.net import HOST_ADDRESS, run_in


@pytest.fixture
def networks(http: Http) -> Iterator[tuple[str, str]]:
    """Two networks of users, with subnets of their own."""
    names = ("front", "rear")
    for number, name in enumerate(names):
        pools = [{"Subnet": f"10.88.{number}.0/24"}, {"Subnet": f"fd88:{number}::/64"}]
        body = {"Name": name, "EnableIPv6": True, "IPAM": {"Config": pools}}
        http.ok("POST", "/networks/create", body)
    yield names
    for container in http.ok("GET", "/containers/json?all=1"):
        http.ok("DELETE", f"/containers/{container['Id']}?force=1")
    for name in names:
        http.ok("DELETE", f"/networks/{name}")


def test_network_disabled_leaves_loopback_alone(http: Http) -> None:
    look = {"links": "ls /sys/class/net", "route": "ip route"}
    assert seen(http, look, NetworkDisabled=True) == {"links": "lo", "route": ""}


def test_publish_all_ports_publishes_what_is_exposed(http: Http, engine: Daemon, docker: DockerCLI) -> None:
    serve = (
        "echo hello >/index.html; httpd -p 80 -h /; until netstat -ltn | grep -q :80; do :; done; sleep 600"
    )
    cid = running(http, serve, {"PublishAllPorts": True}, ExposedPorts={"80/tcp": {}, "53/udp": {}})
    ports = docker.inspect(cid)["NetworkSettings"]["Ports"]
    assert sorted(ports) == ["53/udp", "80/tcp"]
    docker("exec", cid, "sh", "-c", "until netstat -ltn | grep -q :80; do :; done")
    with engine.net.connect((HOST_ADDRESS, int(ports["80/tcp"][0]["HostPort"])), outside=True) as sock:
        sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        assert sock.recv(15).startswith(b"HTTP/1.")


def test_an_end_is_as_it_was_wished(http: Http, engine: Daemon, networks: tuple[str, str]) -> None:
    newest = Http(engine.socket, prefix="/v1.44")
    wish = {
        "front": {
            "IPAMConfig": {
                "IPv4Address": "10.88.0.77",
                "IPv6Address": "fd88::77",
                "LinkLocalIPs": ["169.254.7.7"],
            },
            "MacAddress": "02:42:ac:00:00:77",
            "Aliases": ["other-name"],
            "Links": ["neighbour:beside"],
        },
        "rear": {"GwPriority": 10},
    }
    running(newest, host={"NetworkMode": "front"}, name="neighbour")
    look = {
        "addresses": "ip -o addr show eth0 | awk '{print $4}'",
        "mac": "cat /sys/class/net/eth0/address",
        "alias": "nslookup -type=a other-name | tail -2 | head -1",
        "link": "ping -4 -c1 -W9 beside | head -1",
        "route": "ip route | grep ^default | cut -d' ' -f3",
        "links": "ls /sys/class/net | tr '\\n' ' '",
    }
    told = seen(newest, look, {"NetworkMode": "front"}, NetworkingConfig={"EndpointsConfig": wish})
    assert {"10.88.0.77/24", "fd88::77/64", "169.254.7.7/16"} <= set(told["addresses"].split())
    assert told["mac"] == "02:42:ac:00:00:77"
    assert told["alias"] == "Address: 10.88.0.77"
    assert told["link"].startswith("PING beside (10.88.0.")
    assert told["route"] == "10.88.1.1"
    assert told["links"] == "eth0 eth1 lo "


def test_what_an_end_only_tells_is_no_wish(http: Http, networks: tuple[str, str]) -> None:
    """Compose sends back what it was told."""
    told = {
        "NetworkID": "x",
        "EndpointID": "y",
        "Gateway": "10.88.0.9",
        "IPAddress": "10.88.0.99",
        "IPPrefixLen": 8,
        "IPv6Gateway": "fd88::9",
        "GlobalIPv6Address": "fd88::99",
        "GlobalIPv6PrefixLen": 8,
        "DNSNames": ["nobody"],
    }
    config = {"EndpointsConfig": {"front": told}}
    said = inside(
        http,
        "ip -o addr show eth0; ip route; ip -6 route",
        {"NetworkMode": "front"},
        NetworkingConfig=config,
    )
    for text in ("10.88.0.99", "fd88::99", "10.88.0.9 ", "fd88::9 "):
        assert text not in said
    assert "default via 10.88.0.1 " in said


def test_network_mode_says_whose_network_it_is(http: Http, engine: Daemon) -> None:
    donor = running(http, host={"NetworkMode": "bridge"}, name="donor")
    shared, own = seen_in(http, f"container:{donor}"), seen_in(http, "default")
    assert shared == seen_in(http, "container:donor")
    assert own != shared
    assert seen_in(http, "host") == run_in(
        engine.net.netns, lambda: str(Path("/proc/thread-self/ns/net").readlink())
    )
    assert inside(http, "ls /sys/class/net", {"NetworkMode": "none"}) == "lo"


def seen_in(http: Http, mode: str) -> str:
    return inside(http, "readlink /proc/self/ns/net", {"NetworkMode": mode})


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "MacAddress": ({}, {"MacAddress": "zz"}, 400, "address zz: invalid MAC address"),
    "MacAddress of nobody": (
        {},
        {"MacAddress": "00:00:00:00:00:00"},
        400,
        "address 00:00:00:00:00:00: invalid MAC address",
    ),
    "MacAddress of a group": (
        {},
        {"MacAddress": "01:00:5e:00:00:01"},
        400,
        "address 01:00:5e:00:00:01: invalid MAC address: it is one of a group",
    ),
    "MacAddress of an end": (
        {},
        {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "zz"}}}},
        400,
        "address zz: invalid MAC address",
    ),
    "PortBindings": (
        {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}},
        {},
        400,
        'invalid port specification: "x"',
    ),
    "NetworkMode": ({"NetworkMode": "nowhere"}, {}, 404, "network nowhere not found"),
    "PortBindings with another's network": (
        {"NetworkMode": "container:x", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
        {},
        400,
        "conflicting options: port publishing and the container type network mode",
    ),
    "DriverOpts": (
        {},
        {"NetworkingConfig": {"EndpointsConfig": {"bridge": {"DriverOpts": {"a": "b"}}}}},
        400,
        "the network driver bridge has no options of endpoints: a",
    ),
    "Links": ({"Links": ["a:b:c"]}, {}, 400, "bad format for links: a:b:c"),
    "Dns": ({"Dns": ["x"]}, {}, 400, "invalid IP address: x"),
}


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("host", "config", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(
    http: Http, host: dict[str, Any], config: dict[str, Any], status: int, text: str
) -> None:
    assert refused(http, host, **config) == (status, text)
