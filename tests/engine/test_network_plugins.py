"""Networks and addresses of plugins, for real: bridges, veths and subnets that the engine did not make."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.plugins import HostPlugin, context, plugin_host
from tests.support.waiting import until

pytestmark = pytest.mark.beyond_dockerd
DOCUMENT = Path(__file__).parents[2] / "docs" / "plugins.md"
SLEEP = ("busybox", "sleep", "600")


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sockets")


@pytest.fixture(scope="module")
def host(new_engine: type[Daemon], sockets: Path, archive: Path) -> Iterator[Daemon]:
    with plugin_host(new_engine, sockets, archive, timeout_s=2) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def one(host: Daemon, sockets: Path) -> Iterator[HostPlugin]:
    plugin = HostPlugin(sockets, "p", host.net)
    yield plugin
    plugin.kill()


@pytest.fixture
def docker(host: Daemon, one: HostPlugin) -> Iterator[DockerCLI]:
    if not host.process:
        host.start()
    yield host.docker
    if not host.process:
        host.start()
    one.misbehave({})
    one.start()
    host.clean()
    host.http("POST", "/networks/prune")
    for found in host.http.ok("GET", "/plugins"):
        host.http("DELETE", f"/plugins/{found['Name']}?force=1")
    links = json.loads(subprocess.run(["ip", "-n", host.net.name, "-j", "link"], capture_output=True).stdout)
    left = [link["ifname"] for link in links if link["ifname"].startswith("lm")]
    assert not left, f"links of the plugin are left: {left}"


@pytest.fixture
def plugin(one: HostPlugin, docker: DockerCLI) -> HostPlugin:
    """The plugin, well behaved, and with nothing that it was called with."""
    one.misbehave({})
    one.start()
    (one.home / "calls").write_text("")
    return one


def address(docker: DockerCLI, container: str, network: str) -> str:
    told = docker.inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"]
    assert isinstance(told, str)
    return told


def network(docker: DockerCLI, name: str) -> dict[str, object]:
    (told,) = json.loads(docker.out("network", "inspect", name))
    assert isinstance(told, dict)
    return told


def links(host: Daemon) -> str:
    told = subprocess.run(["ip", "-n", host.net.name, "-br", "link"], capture_output=True, text=True)
    return told.stdout


# addresses


def test_a_plugin_gives_the_addresses_of_a_bridge(docker: DockerCLI, plugin: HostPlugin) -> None:
    docker("network", "create", "--ipam-driver", "p", "--ipam-opt", "a=b", "net")
    (asked,) = plugin.calls("IpamDriver.RequestPool")
    assert (asked["AddressSpace"], asked["Options"]) == ("here", {"a": "b"})
    (asked,) = plugin.calls("IpamDriver.RequestAddress")
    assert asked["Options"] == {"RequestAddressType": "com.docker.network.gateway"}
    ipam = network(docker, "net")["IPAM"]
    subnet = {"Subnet": "10.201.0.0/24", "Gateway": "10.201.0.100"}
    assert ipam == {"Driver": "p", "Options": {"a": "b"}, "Config": [subnet]}
    docker.run("-d", "--name", "first", "--network", "net", *SLEEP)
    assert address(docker, "first", "net") == "10.201.0.101"
    docker.run("--rm", "--network", "net", "busybox", "ping", "-c1", "-W20", "first")
    docker("stop", "-t0", "first")
    docker("start", "first")
    assert address(docker, "first", "net") == "10.201.0.101"
    assert "has active endpoints" in docker("network", "rm", "net", check=False).stderr
    docker("rm", "-f", "first")
    docker("network", "rm", "net")
    released = [call["Address"] for call in plugin.calls("IpamDriver.ReleaseAddress")]
    assert sorted(set(released)) == ["10.201.0.100", "10.201.0.101", "10.201.0.102"]
    assert len(plugin.calls("IpamDriver.ReleasePool")) == 1


def test_addresses_that_are_wished_are_asked_of_the_plugin(docker: DockerCLI, plugin: HostPlugin) -> None:
    wishes = ("--subnet", "10.202.0.0/24", "--gateway", "10.202.0.9", "--aux-address", "x=10.202.0.77")
    docker("network", "create", "--ipam-driver", "p", *wishes, "--ipv6", "--subnet", "fd12::/64", "net")
    docker.run(
        *("-d", "--name", "it", "--network", "net", "--ip", "10.202.0.50", "--ip6", "fd12::77"), *SLEEP
    )
    assert "fd12::77/64" in docker.out("exec", "it", "ip", "addr", "show", "eth0")
    taken = docker("run", "-d", "--network", "net", "--ip", "10.202.0.50", *SLEEP, check=False)
    assert "remote: address already in use" in taken.stderr
    outside = docker("run", "-d", "--network", "net", "--ip", "10.203.0.50", *SLEEP, check=False)
    assert (
        "Invalid address 10.203.0.50: It does not belong to any of this network's subnets" in outside.stderr
    )
    asked = [call["Address"] for call in plugin.calls("IpamDriver.RequestAddress")]
    assert asked == ["10.202.0.9", "10.202.0.77", "", "10.202.0.50", "fd12::77", "10.202.0.50"]


def test_a_plugin_that_needs_the_mac_is_told_it(docker: DockerCLI, plugin: HostPlugin) -> None:
    plugin.misbehave({"IpamDriver.GetCapabilities": {"RequiresMACAddress": True}})
    docker("network", "create", "--ipam-driver", "p", "net")
    docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
    told = plugin.calls("IpamDriver.RequestAddress")[-1]["Options"]["com.docker.network.endpoint.macaddress"]
    assert docker.inspect("it")["NetworkSettings"]["Networks"]["net"]["MacAddress"] == told
    assert told in docker.out("exec", "it", "ip", "link", "show", "eth0")


def test_a_macvlan_network_has_addresses_of_a_plugin(docker: DockerCLI, plugin: HostPlugin) -> None:
    docker("network", "create", "-d", "macvlan", "--ipam-driver", "p", "net")
    docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
    assert address(docker, "it", "net") in docker.out("exec", "it", "ip", "-4", "addr", "show", "eth0")


def test_what_a_plugin_gave_is_kept_over_a_kill_and_returned_when_its_container_is_gone(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    docker("network", "create", "--ipam-driver", "p", "net")
    docker.run("-d", "--name", "stays", "--network", "net", *SLEEP)
    docker.run("-d", "--name", "goes", "--network", "net", *SLEEP)
    stays, goes = (address(docker, name, "net") for name in ("stays", "goes"))
    pid = docker.inspect("goes")["State"]["Pid"]
    host.kill()
    subprocess.run(["kill", "-9", str(pid)], check=True)
    host.start()
    until(lambda: plugin.calls("IpamDriver.ReleaseAddress"), what="the address to be returned")
    assert [call["Address"] for call in plugin.calls("IpamDriver.ReleaseAddress")] == [goes]
    docker.run("-d", "--name", "new", "--network", "net", *SLEEP)
    assert address(docker, "new", "net") == goes
    assert address(docker, "stays", "net") == stays
    docker("exec", "new", "ping", "-c1", "-W20", "stays")


def test_a_plugin_that_has_forgotten_is_asked_again(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    plugin.misbehave({"IpamDriver.GetCapabilities": {"RequiresRequestReplay": True}})
    docker("network", "create", "--ipam-driver", "p", "net")
    docker.run("-d", "--name", "old", "--network", "net", *SLEEP)
    host.kill()
    plugin.kill()
    plugin.start()
    host.start()
    docker.run("-d", "--name", "new", "--network", "net", *SLEEP)
    assert (address(docker, "old", "net"), address(docker, "new", "net")) == ("10.201.0.101", "10.201.0.102")
    docker("rm", "-f", "old", "new")
    assert docker("network", "rm", "net").stderr == ""
    assert "was not" not in host.log


def test_a_subnet_of_the_host_is_not_taken_from_a_plugin(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    ip = ["ip", "-n", host.net.name]
    subprocess.run([*ip, "route", "add", "10.201.0.0/24", "dev", "up0"], check=True)
    try:
        docker("network", "create", "--ipam-driver", "p", "net")
    finally:
        subprocess.run([*ip, "route", "del", "10.201.0.0/24"], check=True)
    assert network(docker, "net")["IPAM"]["Config"][0]["Subnet"] == "10.201.1.0/24"  # type: ignore[index]
    (released,) = plugin.calls("IpamDriver.ReleasePool")
    assert released["PoolID"].endswith(":10.201.0.0/24")


# networks


def test_a_plugin_plugs_containers_in(docker: DockerCLI, host: Daemon, plugin: HostPlugin) -> None:
    docker("network", "create", "-d", "p", "--ipam-driver", "p", "-o", "k=v", "net")
    (made,) = plugin.calls("NetworkDriver.CreateNetwork")
    assert made["Options"]["com.docker.network.generic"] == {"k": "v"}
    assert made["IPv4Data"] == [
        {"AddressSpace": "here", "Pool": "10.201.0.0/24", "Gateway": "10.201.0.100/24"}
    ]
    told = network(docker, "net")
    assert (told["Driver"], told["Scope"], told["Options"]) == ("p", "local", {"k": "v"})
    docker.run("-d", "--name", "one", "--network", "net", "--network-alias", "uno", *SLEEP)
    docker.run("-d", "--name", "two", "--network", "net", "-p", "8080:80", *SLEEP)
    docker("exec", "two", "ping", "-c1", "-W20", "uno")
    docker("exec", "two", "ping", "-c1", "-W20", "10.201.0.100")
    routes = docker.out("exec", "one", "ip", "route")
    assert "default via 10.201.0.100 dev eth0" in routes
    assert "192.0.2.0/24 dev eth0 scope link" in routes
    assert "02:11:0a:c9:00:65" in docker.out("exec", "one", "ip", "link", "show", "eth0")
    assert docker.inspect("one")["NetworkSettings"]["Networks"]["net"]["MacAddress"] == "02:11:0a:c9:00:65"
    assert f"10.201.0.101\t{docker.inspect('one')['Config']['Hostname']}" in docker.out(
        "exec", "one", "cat", "/etc/hosts"
    )
    assert len(network(docker, "net")["Containers"]) == 2  # type: ignore[arg-type]
    docker("exec", "-d", "two", "nc", "-l", "-p", "80", "-e", "echo", "hello")
    until(lambda: _heard(host, 8080) == b"hello\n", what="the published port to answer")
    assert docker.out("port", "two") == "80/tcp -> 0.0.0.0:8080"
    docker("rm", "-f", "one", "two")
    assert "lmq" not in links(host)
    ends = [call["EndpointID"] for call in plugin.calls("NetworkDriver.CreateEndpoint")]
    for method in ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint"):
        assert sorted(call["EndpointID"] for call in plugin.calls(f"NetworkDriver.{method}")) == sorted(ends)
    docker("network", "rm", "net")
    assert "lmp" not in links(host)


def _heard(host: Daemon, port: int) -> bytes:
    """What is said at a port of the host; nothing while nobody listens behind it."""
    with suppress(OSError), host.net.connect(("127.0.0.1", port)) as sock:
        return sock.recv(100)
    return b""


def test_a_running_container_enters_and_leaves(docker: DockerCLI, host: Daemon, plugin: HostPlugin) -> None:
    docker("network", "create", "-d", "p", "--subnet", "10.204.0.0/24", "net")
    docker("network", "create", "other")
    docker.run("-d", "--name", "peer", "--network", "net", *SLEEP)
    docker.run("-d", "--name", "it", "--network", "other", *SLEEP)
    docker("network", "connect", "--ip", "10.204.0.40", "--driver-opt", "x=y", "net", "it")
    assert plugin.calls("NetworkDriver.CreateEndpoint")[-1]["Options"]["x"] == "y"
    assert "10.204.0.40/24" in docker.out("exec", "it", "ip", "addr", "show", "eth1")
    docker("exec", "it", "ping", "-c1", "-W20", "peer")
    docker("network", "disconnect", "net", "it")
    assert "eth1" not in docker.out("exec", "it", "ip", "link")
    assert "default" in docker.out("exec", "it", "ip", "route")
    docker("network", "disconnect", "other", "it")
    docker("network", "connect", "net", "it")
    assert "default via 10.204.0.1" in docker.out("exec", "it", "ip", "route")


def test_a_container_goes_on_in_its_network_when_the_engine_was_killed(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    docker("network", "create", "-d", "p", "net")
    docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
    docker.run("-d", "--name", "gone", "--network", "net", *SLEEP)
    before, pid = address(docker, "it", "net"), docker.inspect("gone")["State"]["Pid"]
    host.kill()
    subprocess.run(["kill", "-9", str(pid)], check=True)
    host.start()
    until(lambda: plugin.calls("NetworkDriver.DeleteEndpoint"), what="the endpoint to be returned")
    assert address(docker, "it", "net") == before
    docker.run("--rm", "--network", "net", "busybox", "ping", "-c1", "-W20", "it")
    docker("rm", "-f", "it", "gone")
    assert "lmq" not in links(host)


def test_a_container_stops_though_its_plugin_is_gone_which_is_told_later(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    docker("network", "create", "-d", "p", "net")
    docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
    plugin.kill()
    docker("rm", "-f", "it")
    assert "op=RevokeExternalConnectivity network=net driver=p: " in host.log
    plugin.start()
    docker.run("--rm", "--network", "net", "busybox", "true")
    first, second = plugin.calls("NetworkDriver.CreateEndpoint")
    left = [call["EndpointID"] for call in plugin.calls("NetworkDriver.DeleteEndpoint")]
    assert left == [first["EndpointID"], second["EndpointID"]]


def test_a_link_goes_back_to_the_host_by_its_name(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    docker("network", "create", "-d", "p", "net")
    docker("network", "create", "other")
    for end in (("network", "disconnect", "net", "it"), ("rm", "-f", "it")):
        docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
        docker("network", "connect", "other", "it")
        plugin.misbehave({"NetworkDriver.Leave": {}})
        docker(*end)
        plugin.misbehave({})
        name = "lmr" + plugin.calls("NetworkDriver.Leave")[-1]["EndpointID"][:8]
        assert f"{name}@" in links(host)
        subprocess.run(["ip", "-n", host.net.name, "link", "del", name], check=True)
        docker("rm", "-f", "it")


def test_who_is_led_nowhere_by_a_plugin_is_led_out_by_the_engine(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin
) -> None:
    docker("network", "create", "-d", "p", "-o", "gateway=off", "--subnet", "10.204.0.0/24", "net")
    docker("network", "create", "-d", "p", *("-o", "gateway=off", "-o", "service=off"), "alone")
    docker.run("-d", "--name", "it", "--network", "net", "-p", "8080:80", *SLEEP)
    assert "dev eth1" in docker.out("exec", "it", "ip", "route", "show", "default")
    docker("exec", "-d", "it", "nc", "-l", "-p", "80", "-e", "echo", "hello")
    until(lambda: _heard(host, 8080) == b"hello\n", what="the published port to answer")
    inside = docker.run("--rm", "--network", "alone", "busybox", "ip", "route")
    assert "192.0.2.0/24" in inside
    assert "default" not in inside
    docker("rm", "-f", "it")
    docker("network", "rm", "docker_gwbridge")


def test_who_joins_a_plugins_network_that_leads_nowhere_is_led_out_too(
    docker: DockerCLI, plugin: HostPlugin
) -> None:
    def gateways() -> list[str]:
        routes = docker.out("exec", "it", "ip", "route").splitlines()
        return [route.split()[2] for route in routes if route.startswith("default via ")]

    docker("network", "create", "-d", "p", "-o", "gateway=off", "--subnet", "10.204.0.0/24", "net")
    docker("network", "create", "--subnet", "10.205.0.0/24", "back")
    docker.run("-d", "--name", "it", "--network", "back", *SLEEP)
    docker("network", "connect", "net", "it")
    assert gateways() == ["10.205.0.1"]
    docker("network", "disconnect", "back", "it")
    bridge = json.loads(docker.out("network", "inspect", "docker_gwbridge"))[0]
    assert gateways() == [bridge["IPAM"]["Config"][0]["Gateway"]]
    docker("network", "connect", "back", "it")
    assert gateways() == ["10.205.0.1"]
    docker("network", "rm", "docker_gwbridge")  # nobody needs it any more
    docker("network", "disconnect", "back", "it")
    docker("network", "disconnect", "net", "it")
    assert gateways() == []
    docker("network", "rm", "docker_gwbridge")


def test_a_plugin_gives_addresses_itself_where_no_ipam_driver_does(
    docker: DockerCLI, plugin: HostPlugin
) -> None:
    plugin.misbehave({"NetworkDriver.CreateEndpoint": {"Interface": {"Address": "10.203.0.7/24"}}})
    docker("network", "create", "-d", "p", "--ipam-driver", "null", "net")
    assert plugin.calls("NetworkDriver.CreateNetwork")[0]["IPv4Data"] == [
        {"AddressSpace": "null", "Pool": "0.0.0.0/0"}
    ]
    docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
    assert address(docker, "it", "net") == "10.203.0.7"
    refused = docker("network", "create", "--ipam-driver", "null", "bridged", check=False).stderr
    assert "the IPAM driver null serves networks of plugins, not bridge networks" in refused


MAKING = ("network", "create", "-d", "p", "--ipam-driver", "p", "net")


@pytest.mark.parametrize(
    ("command", "call"),
    [
        (MAKING, "NetworkDriver.CreateNetwork"),
        (("start", "it"), "NetworkDriver.Join"),
        (("start", "it"), "NetworkDriver.ProgramExternalConnectivity"),
        (("rm", "-f", "it"), "NetworkDriver.Leave"),
    ],
)
def test_what_an_engine_that_was_killed_had_begun_is_taken_back(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin, command: tuple[str, ...], call: str
) -> None:
    if command != MAKING:
        docker(*MAKING)
        docker("create", "--name", "it", "--network", "net", *SLEEP)
    if command[0] == "rm":
        docker("start", "it")
    plugin.misbehave({call: "hang"})
    with docker.spawn(*command):
        until(lambda: plugin.calls(call), what="the plugin to be asked")
        host.kill()
    plugin.misbehave({})
    host.start()
    host.clean()
    if command == MAKING:
        until(lambda: plugin.calls("NetworkDriver.DeleteNetwork"), what="the network to be taken back")
    else:
        until(lambda: plugin.calls("NetworkDriver.DeleteEndpoint"), what="the endpoint to be returned")
        docker("network", "rm", "net")
    assert len(plugin.calls("IpamDriver.ReleasePool")) == 1
    assert "net" not in docker.out("network", "ls", "--format", "{{.Name}}").split()
    assert "Traceback" not in host.log
    docker(*MAKING)


def test_a_network_of_a_cluster_needs_a_cluster(docker: DockerCLI, plugin: HostPlugin) -> None:
    plugin.misbehave({"NetworkDriver.GetCapabilities": {"Scope": "global"}})
    refused = docker("network", "create", "-d", "p", "net", check=False).stderr
    assert "This node is not a swarm manager" in refused
    assert plugin.calls("NetworkDriver.CreateNetwork") == []


def test_the_examples_of_the_documents_are_drivers(
    new_engine: type[Daemon], archive: Path, tmp_path: Path
) -> None:
    program = "\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S))
    (tmp_path / "my_package.py").write_text(program)
    facts = tmp_path / "example-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1\n")
    named = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.S)[-1]
    (facts / "entry_points.txt").write_text(named.replace("project.entry-points.", "").replace('"', ""))
    daemon = new_engine()
    try:
        daemon.start(env={"PYTHONPATH": str(tmp_path)})
        docker = daemon.docker
        docker("load", "-i", archive)
        docker("network", "create", "-d", "cables", "--ipam-driver", "even", "net")
        docker.run("-d", "--name", "one", "--network", "net", *SLEEP)
        daemon.kill()
        daemon.start(env={"PYTHONPATH": str(tmp_path)})
        docker.run("-d", "--name", "two", "--network", "net", *SLEEP)
        assert [address(docker, name, "net") for name in ("one", "two")] == ["10.210.0.4", "10.210.0.6"]
        docker("exec", "two", "ping", "-c1", "-W20", "one")
        docker("rm", "-f", "one", "two")
        docker("network", "rm", "net")
        assert "cab" not in links(daemon)
    finally:
        daemon.close()


def test_a_network_plugin_is_found_by_its_description_and_installed(
    docker: DockerCLI, host: Daemon, plugin: HostPlugin, sockets: Path, tmp_path: Path
) -> None:
    (sockets / "specs").mkdir(exist_ok=True)
    (sockets / "specs" / "described.spec").write_text(f"unix://{plugin.socket}\n")
    capabilities = {"linux": {"capabilities": ["CAP_NET_ADMIN"]}}
    docker("plugin", "create", "me/net", context(tmp_path, "networkdriver", "ipamdriver", **capabilities))
    docker("plugin", "enable", "me/net")
    for driver in ("described", "me/net:latest"):
        docker("network", "create", "-d", driver, "--ipam-driver", driver, "net")
        assert driver in host.http.ok("GET", "/info")["Plugins"]["Network"]
        docker.run("-d", "--name", "it", "--network", "net", *SLEEP)
        docker.run("--rm", "--network", "net", "busybox", "ping", "-c1", "-W20", "it")
        if driver != "described":
            used = docker("plugin", "disable", "me/net", check=False).stderr
            assert "plugin me/net:latest is in use" in used
        docker("rm", "-f", "it")
        docker("network", "rm", "net")
