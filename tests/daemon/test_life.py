"""One life of a real engine: what a supervisor hears, what a second engine is told, what is gone then."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engines import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers need root"),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


def test_a_supervisor_hears_when_it_is_ready_and_when_it_stops(engine: Engine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.settimeout(10)
        supervisor.bind(str(tmp_path / "notify"))
        engine.start(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert supervisor.recv(64) == b"READY=1"
        assert engine.stop() == 0
        assert supervisor.recv(64) == b"STOPPING=1"


def test_socket_and_pidfile_go_with_the_engine(engine: Engine) -> None:
    engine.start()
    assert engine.process is not None
    assert (engine.root / "d.pid").read_text() == f"{engine.process.pid}\n"
    engine.stop()
    assert not engine.socket.exists()
    assert not (engine.root / "d.pid").exists()


def test_a_second_engine_is_told_who_has_the_data_root(engine: Engine) -> None:
    engine.start()
    assert engine.process is not None
    command = [
        *engine.command(),
        f"--exec-root={engine.root}/other",
        f"--host=unix://{engine.root}/other.sock",
    ]
    second = subprocess.run(
        engine.net.entered(command), capture_output=True, text=True, timeout=20, check=False
    )
    assert second.returncode == 1
    assert second.stderr == (
        f"Error: data root {engine.data} is in use: process with PID {engine.process.pid} is still running\n"
    )
    engine.stop()


def test_an_engine_that_cannot_start_leaves_nothing(engine: Engine) -> None:
    command = [*engine.command(), "--log-driver=awslogs"]
    refused = subprocess.run(
        engine.net.entered(command), capture_output=True, text=True, timeout=20, check=False
    )
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        1,
        "Error: the log driver awslogs is not implemented yet",
    )
    assert not engine.socket.exists()
    assert not (engine.root / "d.pid").exists()
