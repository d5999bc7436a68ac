"""Bridge, host and none; published ports; the way out through NAT. The outside is a namespace of the test."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.net import HOST_ADDRESS, OUTSIDE_ADDRESS, run_in


def serving(docker: DockerCLI, *args: object) -> str:
    """The id of a container that says hello to whoever connects to its port 80."""
    cid = docker.run("-d", *args, "busybox", "sh", "-c", "echo hello > /index.html; httpd -f -p 80 -h /")
    docker("exec", cid, "sh", "-c", "until netstat -ltn | grep -q :80; do :; done")
    return cid


def fetched(sock: socket.socket) -> bytes:
    """The body of what an HTTP server says over this connection."""
    with sock:
        sock.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        answer = b""
        while part := sock.recv(4096):
            answer += part
    return answer.partition(b"\r\n\r\n")[2]


def port_of(docker: DockerCLI, cid: str) -> int:
    """The host port behind 80/tcp."""
    return int(docker.out("port", cid, "80/tcp").splitlines()[0].rpartition(":")[2])


def test_containers_on_the_bridge_reach_each_other(docker: DockerCLI) -> None:
    server = serving(docker)
    address = docker.inspect(server)["NetworkSettings"]["IPAddress"]
    assert docker.run("--rm", "busybox", "wget", "-qO-", f"http://{address}/index.html") == "hello"


def test_the_outside_sees_the_hosts_address(engine: Daemon, docker: DockerCLI) -> None:
    with engine.net.listen((OUTSIDE_ADDRESS, 7000), outside=True) as listener:
        listener.settimeout(20)
        client = docker.spawn("run", "--rm", "busybox", "sh", "-c", f"echo hi | nc {OUTSIDE_ADDRESS} 7000")
        sock, (source, _) = listener.accept()
        with sock:
            assert sock.recv(16) == b"hi\n"
        client.communicate(timeout=20)
    assert source == HOST_ADDRESS


@pytest.mark.parametrize("publish", ["8080:80", "80"])
def test_a_published_port_answers_on_loopback_and_on_the_hosts_addresses(
    engine: Daemon, docker: DockerCLI, publish: str
) -> None:
    server = serving(docker, "-p", publish)
    port = port_of(docker, server)
    assert (port == 8080) is (publish == "8080:80")
    assert fetched(engine.net.connect(("127.0.0.1", port))) == b"hello\n"
    assert fetched(engine.net.connect((HOST_ADDRESS, port))) == b"hello\n"
    assert fetched(engine.net.connect((HOST_ADDRESS, port), outside=True)) == b"hello\n"


def test_a_neighbour_reaches_a_published_port_by_the_hosts_address(docker: DockerCLI) -> None:
    serving(docker, "-p", "8080:80")
    assert docker.run("--rm", "busybox", "wget", "-qO-", f"http://{HOST_ADDRESS}:8080/index.html") == "hello"


def test_a_container_reaches_itself_by_its_published_port(docker: DockerCLI) -> None:
    server = serving(docker, "-p", "8080:80")
    assert docker.out("exec", server, "wget", "-qO-", f"http://{HOST_ADDRESS}:8080/index.html") == "hello"


def test_a_port_published_on_loopback_stays_there(engine: Daemon, docker: DockerCLI) -> None:
    serving(docker, "-p", "127.0.0.1:8080:80")
    assert fetched(engine.net.connect(("127.0.0.1", 8080))) == b"hello\n"
    with pytest.raises(ConnectionRefusedError):
        engine.net.connect((HOST_ADDRESS, 8080), outside=True)


def test_a_port_ends_with_its_container(engine: Daemon, docker: DockerCLI) -> None:
    server = serving(docker, "-p", "8080:80")
    docker("rm", "-f", server)
    for address, outside in (("127.0.0.1", False), (HOST_ADDRESS, True)):
        with pytest.raises(ConnectionRefusedError):
            engine.net.connect((address, 8080), outside=outside)


def test_udp_is_published_too(engine: Daemon, docker: DockerCLI) -> None:
    cid = docker.run("-d", "-p", "8053:53/udp", "busybox", "sleep", "600")
    inside = Path(f"/proc/{docker.inspect(cid)['State']['Pid']}/ns/net")

    def datagrams() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(10)
        return sock

    with run_in(inside, datagrams) as server, run_in(engine.net.outside, datagrams) as client:
        run_in(inside, lambda: server.bind(("0.0.0.0", 53)))
        client.sendto(b"ask", (HOST_ADDRESS, 8053))
        asked, asker = server.recvfrom(16)
        server.sendto(b"answer", asker)
        assert (asked, *client.recvfrom(16)) == (b"ask", b"answer", (HOST_ADDRESS, 8053))


def test_a_port_is_published_once(http: Http, docker: DockerCLI) -> None:
    docker.run("-d", "-p", "8080:80", "busybox", "sleep", "600")
    refused = docker("run", "--name", "box", "-p", "8080:80", "busybox", "true", check=False)
    assert refused.code == 125
    assert "driver failed programming external connectivity on endpoint box" in refused.stderr
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in refused.stderr
    assert docker.inspect("box")["State"]["Status"] == "created"


def test_a_port_of_another_program_is_refused(engine: Daemon, docker: DockerCLI) -> None:
    with engine.net.listen(("0.0.0.0", 8081)):
        refused = docker("run", "--rm", "-p", "8081:80", "busybox", "true", check=False)
    assert (refused.code, "bind: address already in use" in refused.stderr) == (125, True)


def test_port_lists_what_is_published(docker: DockerCLI) -> None:
    cid = docker.run("-d", "-p", "127.0.0.1:8080:80", "-p", "8053:53/udp", "busybox", "sleep", "600")
    told = docker.out("port", cid).splitlines()
    assert "80/tcp -> 127.0.0.1:8080" in told
    assert "53/udp -> 0.0.0.0:8053" in told
    assert docker.out("port", cid, "80") == "127.0.0.1:8080"
    assert "127.0.0.1:8080->80/tcp" in docker.out("ps", "--format", "{{.Ports}}")
    refused = docker("port", cid, "81", check=False)
    assert refused.code == 1


@contextlib.contextmanager
def a_way_in(engine: Daemon) -> Iterator[None]:
    """The outside believes that the host leads to its containers."""
    route = ["ip", "-n", engine.net.outside_name, "route"]
    subprocess.run([*route, "add", "172.17.0.0/16", "via", HOST_ADDRESS], check=True)
    try:
        yield
    finally:
        subprocess.run([*route, "del", "172.17.0.0/16"], check=True)


@pytest.mark.beyond_dockerd
def test_a_containers_own_address_is_closed_to_the_outside(engine: Daemon, docker: DockerCLI) -> None:
    address = docker.inspect(serving(docker))["NetworkSettings"]["IPAddress"]
    with a_way_in(engine), pytest.raises(OSError, match=r"timed out|refused|unreachable"):
        run_in(engine.net.outside, lambda: socket.create_connection((address, 80), timeout=1))


def test_none_has_nothing_but_loopback(docker: DockerCLI) -> None:
    assert docker.run("--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo"
    assert docker.run("--rm", "--network", "none", "busybox", "ping", "-c1", "-q", "127.0.0.1")


def test_host_is_the_hosts_network(engine: Daemon, docker: DockerCLI) -> None:
    docker.run(
        "-d", "--network", "host", "--name", "box", "busybox", "nc", "-l", "-p", "7001", "-e", "echo", "hi"
    )
    docker("exec", "box", "sh", "-c", "until netstat -ltn | grep -q :7001; do :; done")
    with engine.net.connect(("127.0.0.1", 7001)) as sock:
        assert sock.recv(16) == b"hi\n"
    assert docker.inspect("box")["NetworkSettings"]["Networks"]["host"]["IPAddress"] == ""


def test_networks_that_are_shared_in_a_chain_are_the_first_ones(docker: DockerCLI) -> None:
    sleeper = ("busybox", "sleep", "600")
    first = docker.run("-d", "--hostname", "first", *sleeper)
    second = docker.run("-d", "--network", f"container:{first}", *sleeper)
    third = docker.run("-d", "--network", f"container:{second}", *sleeper)
    assert docker.out("exec", third, "sh", "-c", "hostname; cat /etc/hostname") == "first\nfirst"
    assert "\tx first " in docker.run("--rm", "--link", f"{third}:x", "busybox", "cat", "/etc/hosts")
    docker("rm", "-f", first)
    docker("stop", "-t", "0", third)
    assert docker(
        "cp", f"{third}:/bin/busybox", "-"
    ).stdout  # of what it was given nothing is left, of it all


def test_a_container_can_share_the_network_of_another(docker: DockerCLI) -> None:
    first = serving(docker)
    told = docker.run(
        "--rm", "--network", f"container:{first}", "busybox", "wget", "-qO-", "http://127.0.0.1/index.html"
    )
    assert told == "hello"


def test_an_address_comes_back_when_its_container_is_gone(docker: DockerCLI) -> None:
    addresses = set()
    for _ in range(3):
        cid = docker.run("-d", "busybox", "sleep", "600")
        addresses.add(docker.inspect(cid)["NetworkSettings"]["IPAddress"])
        docker("rm", "-f", cid)
    assert all(address.startswith("172.17.0.") for address in addresses)


def test_the_default_networks_are_there(docker: DockerCLI) -> None:
    told = docker.out("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").splitlines()
    assert sorted(told) == ["bridge bridge local", "host host local", "none null local"]
    cid = docker.run("-d", "busybox", "sleep", "600")
    assert list(docker.inspect("bridge")["Containers"]) == [cid]
