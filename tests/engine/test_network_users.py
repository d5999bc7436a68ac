"""Networks of users through the docker command: names, addresses, live changes, isolation."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.net import HOST_ADDRESS, run_in


@pytest.fixture(autouse=True)
def no_networks_left(engine: Daemon) -> Iterator[None]:
    yield
    engine.clean()
    engine.docker("network", "prune", "-f")


def sleeping(docker: DockerCLI, name: str, *args: object) -> str:
    """The id of a container that does nothing for a long time."""
    return docker.run("-d", "--name", name, *args, "busybox", "sleep", "600")


def serving(docker: DockerCLI, name: str, *args: object) -> str:
    """The id of a container that says its name to whoever connects to its port 80."""
    cid = docker.run(
        "-d", "--name", name, *args, "busybox", "sh", "-c", f"echo {name} > /index.html; httpd -f -p 80 -h /"
    )
    docker("exec", cid, "sh", "-c", "until netstat -ltn | grep -q :80; do :; done")
    return cid


def asked(docker: DockerCLI, name: str, question: str, *args: str) -> list[str]:
    """The addresses that the container's name server tells for a name."""
    answer = docker("exec", name, "nslookup", *args, question, check=False)
    lines = answer.stdout.splitlines()
    found = [line.split()[-1] for line in lines if line.startswith(("Address", "Name"))]
    return [text for text in found[1:] if text != question and not text.endswith(":53")]


def fetched(docker: DockerCLI, name: str, host: str, *, seconds: int = 4) -> str:
    """What a container gets from a server in time, "" when it does not reach it."""
    wget = ("timeout", seconds, "wget", "-qO-", f"http://{host}/index.html")
    return docker("exec", name, *wget, check=False).stdout.strip()


def ends(docker: DockerCLI, name: str) -> Any:
    return docker.inspect(name)["NetworkSettings"]["Networks"]


def test_containers_of_a_network_find_each_other_by_name_alias_and_id(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    cid = serving(docker, "db", "--network", "back", "--network-alias", "store")
    sleeping(docker, "web", "--network", "back")
    address = ends(docker, "db")["back"]["IPAddress"]
    for name in ("db", "store", cid[:12], "db.back", "DB"):
        assert asked(docker, "web", name) == [address], name
    assert fetched(docker, "web", "db") == "db"
    told = docker("exec", "web", "nslookup", address).stdout
    assert "name = db.back" in told
    assert docker("exec", "web", "cat", "/etc/resolv.conf").stdout.splitlines()[-2:] == [
        "nameserver 127.0.0.11",
        "options ndots:0",
    ]


@pytest.mark.beyond_dockerd
def test_a_name_ends_with_its_container_and_follows_a_rename(docker: DockerCLI) -> None:
    docker("network", "create", "--internal", "back")
    sleeping(docker, "web", "--network", "back")
    sleeping(docker, "db", "--network", "back")
    docker("rename", "db", "store")
    assert asked(docker, "web", "store")
    assert "NXDOMAIN" in docker("exec", "web", "nslookup", "db", check=False).stdout
    docker("rm", "-f", "store")
    assert "NXDOMAIN" in docker("exec", "web", "nslookup", "store", check=False).stdout


def test_several_behind_one_alias_take_turns(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    for number in range(3):
        sleeping(docker, f"n{number}", "--network", "back", "--network-alias", "pool")
    answers = [asked(docker, "n0", "pool") for _ in range(6)]
    assert len({tuple(sorted(answer)) for answer in answers}) == 1
    assert len({answer[0] for answer in answers}) == 3


def test_addresses_are_as_wished(docker: DockerCLI) -> None:
    docker("network", "create", "--subnet", "10.77.0.0/24", "--ip-range", "10.77.0.128/25", "back")
    sleeping(
        docker,
        "one",
        "--network",
        "back",
        "--ip",
        "10.77.0.9",
    )
    sleeping(docker, "two", "--network", "back")
    assert ends(docker, "one")["back"]["IPAddress"] == "10.77.0.9"
    assert ends(docker, "two")["back"]["IPAddress"] == "10.77.0.129"  # the gateway has the first of the range
    docker("restart", "-t0", "one")
    assert ends(docker, "one")["back"]["IPAddress"] == "10.77.0.9"
    for address, words in (
        ("10.77.0.9", "Address already in use"),
        ("10.78.0.9", "It does not belong to any of this network's subnets"),
    ):
        refused = docker("run", "--rm", "--network", "back", "--ip", address, "busybox", check=False)
        assert words in refused.stderr


def test_a_mac_is_as_wished(http: Http, docker: DockerCLI) -> None:
    docker("network", "create", "back")
    wish = {"Image": "busybox", "Cmd": ["sleep", "600"], "MacAddress": "02:00:00:00:00:09"}
    made = http.ok("POST", "/containers/create?name=box", {**wish, "HostConfig": {"NetworkMode": "back"}})
    docker("start", made["Id"])
    assert "02:00:00:00:00:09" in docker("exec", "box", "ip", "link", "show", "eth0").stdout
    assert ends(docker, "box")["back"]["MacAddress"] == "02:00:00:00:00:09"


def test_a_running_container_joins_and_leaves(engine: Daemon, docker: DockerCLI) -> None:
    docker("network", "create", "--internal", "front")  # nobody outside is asked for names
    docker("network", "create", "--internal", "back")
    sleeping(docker, "web", "--network", "front")
    serving(docker, "db", "--network", "back")
    assert asked(docker, "web", "db") == []
    docker("network", "connect", "--alias", "w", "back", "web")
    assert fetched(docker, "web", "db") == "db"
    assert asked(docker, "db", "w") == [ends(docker, "web")["back"]["IPAddress"]]
    assert sorted(ends(docker, "web")) == ["back", "front"]
    again = docker("network", "connect", "back", "web", check=False)
    assert "endpoint with name web already exists in network back" in again.stderr
    docker("network", "disconnect", "back", "web")
    assert fetched(docker, "web", "db", seconds=1) == ""
    gone = docker("network", "disconnect", "back", "web", check=False)
    assert "is not connected to network back" in gone.stderr
    assert docker("exec", "web", "ls", "/sys/class/net").stdout.split() == ["eth0", "lo"]


def test_a_stopped_container_keeps_its_wish(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    docker("create", "--name", "web", "busybox", "sleep", "600")
    docker("network", "connect", "back", "web")
    docker("start", "web")
    assert sorted(ends(docker, "web")) == ["back", "bridge"]
    docker("stop", "-t0", "web")
    docker("network", "disconnect", "bridge", "web")
    docker("start", "web")
    assert list(ends(docker, "web")) == ["back"]


def test_a_container_forgets_a_network_that_is_gone(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    docker("create", "--name", "web", "--network", "back", "busybox", "sleep", "600")
    docker("network", "rm", "back")
    docker("network", "disconnect", "back", "web")
    assert ends(docker, "web") == {}
    again = docker("network", "disconnect", "-f", "back", "web", check=False)
    assert "is not connected to network back" in again.stderr


def test_what_cannot_be_connected_is_refused_in_dockers_words(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    sleeping(docker, "on-host", "--network", "host")
    sleeping(docker, "first")
    sleeping(docker, "joined", "--network", "container:first")
    sleeping(docker, "alone", "--network", "none")
    sleeping(docker, "left")
    docker("network", "disconnect", "bridge", "left")
    host = "container cannot be disconnected from host network or connected to host network"
    for network, name, words in (
        ("host", "left", host),
        ("host", "alone", "network-scoped alias is supported only for containers in user defined networks"),
    ):
        alias = ("--alias", "x") if name == "alone" else ()
        assert words in docker("network", "connect", *alias, network, name, check=False).stderr
    shared = "container sharing network namespace with another container or host cannot be connected to any"
    private = "container cannot be connected to multiple networks with one of the networks in private (none)"
    for name, words in (
        ("on-host", shared),
        ("joined", shared),
        ("alone", private),
        ("nobody", "No such container: nobody"),
    ):
        assert words in docker("network", "connect", "back", name, check=False).stderr
    assert "network nope not found" in docker("network", "connect", "nope", "first", check=False).stderr
    refused = docker("network", "disconnect", "host", "on-host", check=False)
    assert "container cannot be disconnected from host network" in refused.stderr
    docker("network", "disconnect", "none", "alone")
    docker("network", "connect", "back", "alone")
    assert list(ends(docker, "alone")) == ["back"]
    assert docker("exec", "alone", "cat", "/etc/resolv.conf").stdout.startswith("nameserver 127.0.0.11")
    address = ends(docker, "alone")["back"]["IPAddress"]
    assert f"{address}\t" in docker("exec", "alone", "cat", "/etc/hosts").stdout


@pytest.mark.beyond_dockerd
def test_the_files_of_a_container_change_by_lines_and_in_place(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    sleeping(docker, "web")
    docker("exec", "web", "sh", "-c", "echo 192.0.2.1 mine >> /etc/hosts")
    inode = docker("exec", "web", "stat", "-c", "%i", "/etc/hosts").stdout
    docker("network", "connect", "back", "web")
    address = ends(docker, "web")["back"]["IPAddress"]
    hosts = docker("exec", "web", "cat", "/etc/hosts").stdout
    assert "192.0.2.1 mine" in hosts
    assert f"{address}\t" in hosts
    docker("network", "disconnect", "back", "web")
    assert f"{address}\t" not in docker("exec", "web", "cat", "/etc/hosts").stdout
    assert docker("exec", "web", "stat", "-c", "%i", "/etc/hosts").stdout == inode
    assert "127.0.0.11" not in docker("exec", "web", "cat", "/etc/resolv.conf").stdout


def test_files_of_the_users_own_are_left_alone(docker: DockerCLI, tmp_path: Path) -> None:
    own = {"hosts": "127.0.0.1 mine\n", "resolv.conf": "nameserver 192.0.2.1\n", "hostname": "mine\n"}
    binds: list[str] = []
    for name, text in own.items():
        (tmp_path / name).write_text(text)
        binds += ["-v", f"{tmp_path}/{name}:/etc/{name}"]
    for name in ("one", "two"):
        docker("network", "create", name)
    docker.run("-d", "--name", "web", "--network", "one", *binds, "busybox", "sleep", "600")
    docker("network", "connect", "two", "web")
    docker("network", "disconnect", "one", "web")
    docker("restart", "-t", "0", "web")
    for name, text in own.items():
        assert docker.out("exec", "web", "cat", f"/etc/{name}") == text.strip()
        assert (tmp_path / name).read_text() == text


def test_the_default_route_moves_and_published_ports_follow(engine: Daemon, docker: DockerCLI) -> None:
    for name in ("n-a", "n-b"):
        docker("network", "create", name)
    serving(docker, "web", "--network", "n-b", "-p", "8080:80")

    def way_out() -> str:
        return docker("exec", "web", "ip", "route", "show", "default").stdout.split()[2]

    assert way_out() == ends(docker, "web")["n-b"]["Gateway"]
    docker("network", "connect", "n-a", "web")
    assert way_out() == ends(docker, "web")["n-a"]["Gateway"]
    for step in (None, "n-a"):
        if step:
            docker("network", "disconnect", step, "web")
        with engine.net.connect((HOST_ADDRESS, 8080), outside=True) as sock:
            sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            assert sock.recv(15).startswith(b"HTTP/1.")
    assert way_out() == ends(docker, "web")["n-b"]["Gateway"]


@pytest.mark.beyond_dockerd
def test_published_ports_change_while_a_container_runs(engine: Daemon, http: Http, docker: DockerCLI) -> None:
    serving(docker, "web", "-p", "8080:80")
    http.ok("POST", "/containers/web/update", {"PortBindings": {"80/tcp": [{"HostPort": "8181"}]}})
    assert docker.out("port", "web", "80").splitlines()[0] == "0.0.0.0:8181"
    with engine.net.connect((HOST_ADDRESS, 8181), outside=True) as sock:
        sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        assert sock.recv(15).startswith(b"HTTP/1.")
    with pytest.raises(ConnectionRefusedError):
        engine.net.connect((HOST_ADDRESS, 8080), outside=True)
    docker("restart", "-t0", "web")
    assert docker.out("port", "web", "80").splitlines()[0] == "0.0.0.0:8181"


def test_networks_are_apart(docker: DockerCLI) -> None:
    for name in ("one", "two"):
        docker("network", "create", name)
        serving(docker, f"in-{name}", "--network", name)
    address = ends(docker, "in-one")["one"]["IPAddress"]
    assert fetched(docker, "in-one", "127.0.0.1") == "in-one"
    assert fetched(docker, "in-two", address, seconds=1) == ""


@pytest.mark.beyond_dockerd
def test_an_internal_network_has_no_outside(engine: Daemon, docker: DockerCLI) -> None:
    docker("network", "create", "--internal", "back")
    serving(docker, "db", "--network", "back")
    sleeping(docker, "web", "--network", "back")
    assert fetched(docker, "web", "db") == "db"
    assert "default" not in docker("exec", "web", "ip", "route").stdout
    assert "NXDOMAIN" in docker("exec", "web", "nslookup", "example.org", check=False).stdout
    docker("exec", "--privileged", "web", "ip", "route", "add", "default", "via", "172.18.0.1")
    with engine.net.listen(("0.0.0.0", 7007), outside=True) as listener:
        listener.settimeout(0.5)
        with docker.spawn("exec", "web", "nc", "198.51.100.1", "7007"), pytest.raises(TimeoutError):
            listener.accept()


def test_without_icc_neighbours_do_not_hear_each_other(docker: DockerCLI) -> None:
    docker("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "quiet")
    serving(docker, "one", "--network", "quiet")
    sleeping(docker, "two", "--network", "quiet")
    assert fetched(docker, "two", ends(docker, "one")["quiet"]["IPAddress"], seconds=1) == ""


def test_a_link_is_a_name_of_one_container(docker: DockerCLI) -> None:
    docker("network", "create", "--internal", "back")
    serving(docker, "db", "--network", "back")
    sleeping(docker, "web", "--network", "back", "--link", "db:store")
    sleeping(docker, "other", "--network", "back")
    assert fetched(docker, "web", "store") == "db"
    assert asked(docker, "other", "store") == []


def test_a_link_on_the_default_bridge_is_lines_and_variables(docker: DockerCLI) -> None:
    cid = serving(docker, "db", "-e", "PASS=x", "--expose", "80")
    sleeping(docker, "web", "--link", "db:store")
    address = ends(docker, "db")["bridge"]["IPAddress"]
    assert f"{address}\tstore {cid[:12]} db" in docker("exec", "web", "cat", "/etc/hosts").stdout
    assert fetched(docker, "web", "store") == "db"
    said = docker("exec", "web", "sh", "-c", "cat /proc/1/environ | tr '\\0' '\\n'").stdout
    assert f"STORE_PORT_80_TCP_ADDR={address}" in said
    assert "STORE_ENV_PASS=x" in said
    assert "STORE_NAME=/web/store" in docker.out("exec", "web", "env").splitlines()
    assert docker.inspect("web/store")["Name"] == "/db"
    assert docker.inspect("web")["HostConfig"]["Links"] == ["/db:/web/store"]
    assert docker.out("ps", "--no-trunc", "--format", "{{.Names}}").splitlines() == ["web", "db,web/store"]
    sleeping(docker, "between")  # so that it comes back with another address
    docker("stop", "-t0", "db")
    sleeping(docker, "squatter")
    docker("start", "db")
    address = ends(docker, "db")["bridge"]["IPAddress"]
    assert f"{address}\tstore {cid[:12]} db" in docker("exec", "web", "cat", "/etc/hosts").stdout
    docker("stop", "-t0", "db", "web")
    refused = docker("start", "web", check=False)
    assert "Cannot link to a non running container: /db AS /web/store" in refused.stderr


def test_a_link_can_be_taken_away(docker: DockerCLI) -> None:
    sleeping(docker, "db")
    sleeping(docker, "web", "--link", "db:store", "--link", "db:more")
    assert "store" in docker.out("exec", "web", "cat", "/etc/hosts")
    docker("rm", "--link", "web/store")
    hosts = docker.out("exec", "web", "cat", "/etc/hosts")
    assert ("store" in hosts, "more" in hosts) == (False, True)
    assert docker.out("ps", "--no-trunc", "--format", "{{.Names}}").splitlines() == ["web", "db,web/more"]
    docker("restart", "-t0", "web")
    assert "store" not in docker.out("exec", "web", "cat", "/etc/hosts")
    for name, words in (
        ("web", "Conflict, cannot remove the default link name of the container"),
        ("web/store", "No such container: web/store"),
    ):
        assert words in docker("rm", "--link", name, check=False).stderr
    assert docker.out("ps", "-q").count("\n") == 1


def test_a_network_is_named_by_its_id_too(docker: DockerCLI) -> None:
    network = docker.out("network", "create", "back")
    sleeping(docker, "one", "--network", network, "--network-alias", "x")
    assert list(ends(docker, "one")) == ["back"]
    used = docker("network", "rm", "back", check=False)
    assert f"error while removing network: network back id {network} has active endpoints" in used.stderr
    docker("rm", "-f", "one")
    docker("network", "rm", network[:12])


@pytest.mark.beyond_dockerd
def test_networks_are_listed_filtered_and_pruned(docker: DockerCLI) -> None:
    docker("network", "create", "--label", "a=b", "used")
    docker("network", "create", "--label", "a=c", "idle")
    sleeping(docker, "web", "--network", "used")

    def names(*filters: str) -> list[str]:
        args = [arg for each in filters for arg in ("--filter", each)]
        return sorted(docker.out("network", "ls", "--format", "{{.Name}}", *args).split())

    assert names("type=custom") == ["idle", "used"]
    assert names("label=a=b") == ["used"]
    assert names("dangling=true") == ["idle"]
    assert names("driver=bridge", "name=use") == ["used"]
    assert "idle" in docker("network", "prune", "-f", "--filter", "label!=a=b").stdout
    assert names("type=custom") == ["used"]


def test_a_network_looks_as_dockerd_shows_it(docker: DockerCLI) -> None:
    docker(
        *("network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.254"),
        *("--aux-address", "dns=10.77.0.53", "--label", "a=b", "-o", "x=y", "back"),
    )
    cid = sleeping(docker, "web", "--network", "back")
    shown = json.loads(docker.out("network", "inspect", "back"))[0]
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.254", "AuxiliaryAddresses": {"dns": "10.77.0.53"}}
    ]
    assert shown["Containers"][cid]["IPv4Address"] == "10.77.0.1/24"
    assert (shown["Labels"], shown["Options"]) == ({"a": "b"}, {"x": "y"})


@pytest.mark.beyond_dockerd
def test_a_crash_loses_no_network_no_name_and_no_address(engine: Daemon, docker: DockerCLI) -> None:
    docker("network", "create", "back")
    serving(docker, "db", "--network", "back")
    sleeping(docker, "web", "--network", "back")
    docker("network", "connect", "bridge", "web")
    before = ends(docker, "web")
    link = json.loads(docker.out("network", "inspect", "back"))[0]["Id"][:12]
    engine.kill()
    run_in(engine.net.netns, lambda: _delete(f"br-{link}"))
    engine.start()
    assert ends(docker, "web") == before
    assert fetched(docker, "web", "db") == "db"
    assert docker.run("--rm", "--network", "back", "busybox", "nslookup", "db")


def _delete(link: str) -> None:
    from lighterman.linux.netlink import Netlink, delete_link

    with Netlink() as netlink:
        netlink.batch([delete_link(link)])


@pytest.mark.beyond_dockerd
def test_ipv6_goes_both_ways(engine: Daemon, docker: DockerCLI) -> None:
    docker("network", "create", "--ipv6", "--subnet", "fd77::/64", "six")
    serving(docker, "one", "--network", "six", "--ip6", "fd77::9", "-p", "8086:80")
    sleeping(docker, "two", "--network", "six")
    assert ends(docker, "one")["six"]["GlobalIPv6Address"] == "fd77::9"
    assert asked(docker, "two", "one", "-type=aaaa") == ["fd77::9"]
    assert fetched(docker, "two", "[fd77::9]") == "one"
    for address in ("::1", "fd77::1", "127.0.0.1"):
        with engine.net.connect((address, 8086)) as sock:
            sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            assert sock.recv(15).startswith(b"HTTP/1.")
    assert docker("exec", "two", "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra").stdout == "0\n"


def test_macvlan_stands_on_a_link_of_the_host(engine: Daemon, docker: DockerCLI) -> None:
    docker(
        *("network", "create", "-d", "macvlan", "-o", "parent=up0"),
        *("--subnet", "198.51.100.0/24", "--gateway", "198.51.100.1", "lan"),
    )
    docker.run("-d", "--name", "one", "--network", "lan", "--ip", "198.51.100.77", "busybox", "sleep", "600")
    with engine.net.listen(("0.0.0.0", 7008), outside=True) as listener:
        listener.settimeout(5)
        with docker.spawn("exec", "one", "nc", "198.51.100.1", "7008"):
            sock, (source, _) = listener.accept()
            sock.close()
    assert source == "198.51.100.77"


def test_what_this_kernel_does_not_have_is_refused_with_its_reason(docker: DockerCLI) -> None:
    for driver, parent in (("ipvlan", "up0"), ("macvlan", "up0.10")):
        made = docker("network", "create", "-d", driver, "-o", f"parent={parent}", driver, check=False)
        assert not made.code or "Unknown device type" in made.stderr


def test_the_hosts_address_has_a_name(docker: DockerCLI) -> None:
    docker("network", "create", "back")
    told = docker.run(
        "--rm",
        "--network",
        "back",
        "--add-host",
        "host.docker.internal:host-gateway",
        "busybox",
        "cat",
        "/etc/hosts",
    )
    assert "172.17.0.1\thost.docker.internal" in told


@pytest.mark.beyond_dockerd
def test_the_default_network_is_as_the_operator_wants(new_engine: type[Daemon], archive: Path) -> None:
    options = ["--ipv6", "--fixed-cidr=172.17.9.0/24", "--fixed-cidr-v6=fd66::/64", "--dns=192.0.2.53"]
    options += ["--host-gateway-ip=192.0.2.1", "--host-gateway-ip=2001:db8::1", "--dns-search=example.org"]
    daemon = new_engine(options=[*options, "--default-network-opt=bridge=com.docker.network.driver.mtu=1400"])
    try:
        daemon.start()
        docker = daemon.docker
        docker("load", "-i", archive)
        sleeping(docker, "web", "--add-host", "host:host-gateway")
        end = ends(docker, "web")["bridge"]
        assert end["IPAddress"].startswith("172.17.9.")
        assert end["GlobalIPv6Address"].startswith("fd66::")
        assert docker("exec", "web", "ping", "-c1", "-W2", "fd66::1").code == 0
        said = docker("exec", "web", "cat", "/etc/resolv.conf").stdout
        assert said == "search example.org\nnameserver 192.0.2.53\n"
        assert "192.0.2.1\thost\n2001:db8::1\thost\n" in docker("exec", "web", "cat", "/etc/hosts").stdout
        docker("network", "create", "small")
        said = docker.run("--rm", "--network=small", "busybox", "cat", "/sys/class/net/eth0/mtu")
        assert said == "1400"
    finally:
        daemon.close()
