"""Addresses as dockerd reads them, and sockets that replace nobody who answers."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lighterman.daemon.config import EngineConfig
from lighterman.daemon.listeners import (
    FdHost,
    Host,
    TcpHost,
    UnixHost,
    listen_unix,
    open_listeners,
    parse_host,
    parse_hosts,
)
from lighterman.errdefs import InvalidParameter, System

GROUP = str(os.getgid())


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("unix:///run/a.sock", UnixHost("/run/a.sock")),
        ("unix://", UnixHost("/var/run/docker.sock")),
        ("tcp://127.0.0.1:2376", TcpHost("127.0.0.1", 2376)),
        ("tcp://", TcpHost("127.0.0.1", 2375)),
        ("tcp://:4000", TcpHost("127.0.0.1", 4000)),
        ("127.0.0.2:4000", TcpHost("127.0.0.2", 4000)),
        ("tcp://localhost:1", TcpHost("127.0.0.1", 1)),
        ("tcp://[::1]:2375", TcpHost("::1", 2375)),
        ("fd://", FdHost(None)),
        ("fd://*", FdHost(None)),
        ("fd://4", FdHost(4)),
    ],
)
def test_an_address_is_read_as_dockerd_reads_it(address: str, host: Host) -> None:
    assert parse_host(address) == host


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ftp://x", "invalid bind address (ftp://x): unsupported proto 'ftp'"),
        ("unix://tcp://x", "invalid bind address (unix://tcp://x): invalid unix address: tcp://x"),
        ("unix://relative", "invalid bind address (unix://relative): the path must be absolute"),
        ("unix:///" + "x" * 120, "socket paths end at 107 bytes"),
        ("tcp://127.0.0.1:2375/x", "should not contain a path element"),
        ("tcp://127.0.0.1:0", "invalid port: 0"),
        ("tcp://127.0.0.1:99999", "invalid bind address (tcp://127.0.0.1:99999)"),
        ("tcp://name:1", "no IP address: name"),
        ("fd://x", "failed to parse systemd fd address: should be a number: x"),
        ("tcp://0.0.0.0:2375", "whoever reaches this address is root"),
    ],
)
def test_a_wrong_address_is_refused_with_its_reason(address: str, reason: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_host(address)
    assert reason in str(caught.value)


def test_tcp_beyond_loopback_can_be_forced() -> None:
    assert parse_host("tcp://0.0.0.0:2375", anywhere=True) == TcpHost("0.0.0.0", 2375)


def test_with_tls_the_port_is_another() -> None:
    assert parse_host("tcp://", tls=True) == TcpHost("127.0.0.1", 2376)


def test_sockets_of_systemd_are_taken_unless_others_were_wished() -> None:
    activated = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    assert parse_hosts(EngineConfig(), activated) == [FdHost(None)]
    assert parse_hosts(EngineConfig(), {}) == [UnixHost("/var/run/docker.sock")]
    assert parse_hosts(EngineConfig(hosts=("unix:///a",)), activated) == [UnixHost("/a")]


def test_a_unix_socket_is_for_its_group_and_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "d.sock"
    with listen_unix(str(path), GROUP):
        found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == os.getgid()


def test_a_socket_left_by_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    listen_unix(path, GROUP).close()
    with listen_unix(path, GROUP), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_a_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "d.sock")
    with listen_unix(path, GROUP), pytest.raises(System, match="another engine answers there"):
        listen_unix(path, GROUP)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    path.write_text("mine")
    with pytest.raises(System, match="a file that is no socket is there"):
        listen_unix(str(path), GROUP)
    assert path.read_text() == "mine"


def test_a_group_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(System, match="group no-such-group not found"):
        listen_unix(str(tmp_path / "d.sock"), "no-such-group")


def test_one_address_that_fails_closes_the_others(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(System, match=f"listen tcp 127.0.0.1:{port}: bind: address already in use"):
            open_listeners([UnixHost(str(path)), TcpHost("127.0.0.1", port)], group=GROUP)
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(str(path))


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}], ids=str
)
def test_sockets_of_systemd_must_be_meant_for_this_process(environment: dict[str, str]) -> None:
    with pytest.raises(System, match="no sockets found via socket activation"):
        open_listeners([FdHost(None)], group=GROUP, environment=environment)


def test_only_a_socket_that_systemd_passed_can_be_named() -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    with pytest.raises(System, match="too few socket activated files"):
        open_listeners([FdHost(9)], group=GROUP, environment=environment)


SERVER = """
import os, socket
from lighterman.daemon.listeners import FdHost, open_listeners
(listener,) = open_listeners([FdHost(3)], group="0")
assert not os.get_inheritable(3)
listener.sock.setblocking(True)
listener.sock.accept()[0].sendall(b"served")
"""
SUPERVISOR = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""


def test_a_socket_of_systemd_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(listener.fileno()), SERVER], pass_fds=(listener.fileno(),)
        )
        with server, socket.create_connection(listener.getsockname(), timeout=60) as client:
            assert client.recv(6) == b"served"
