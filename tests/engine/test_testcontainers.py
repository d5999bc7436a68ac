"""Testcontainers for Python, unchanged: containers that live as long as a test."""

from pathlib import Path

import pytest
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from tests.support.engines import Daemon


@pytest.fixture(autouse=True)
def here(engine: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client speaks to this engine; its reaper's image cannot be pulled without the internet."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.socket}")
    monkeypatch.setattr(testcontainers_config, "ryuk_disabled", True)


def test_a_server_is_waited_for_and_reached_through_its_published_port(engine: Daemon) -> None:
    script = "echo word >/index.html; echo ready; exec busybox httpd -f -p 9000 -h /"
    server = (
        DockerContainer("busybox")
        .with_command(["sh", "-c", script])
        .with_exposed_ports(9000)
        .waiting_for(LogMessageWaitStrategy("ready"))
    )
    with server as here:
        port = int(here.get_exposed_port(9000))
        with engine.net.connect(("127.0.0.1", port)) as peer:
            peer.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            assert peer.makefile("rb").read().endswith(b"word\n")
        assert here.get_logs() == (b"ready\n", b"")
        done = here.exec(["sh", "-c", "echo hi; exit 3"])
        assert (done.exit_code, done.output) == (3, b"hi\n")


def test_an_image_is_built_for_a_test(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG WORD\nRUN echo $WORD >/word\nCMD cat /word\n")
    with DockerImage(path=tmp_path, tag="tested:1", buildargs={"WORD": "built"}) as image:
        assert {"stream": "Successfully tagged tested:1\n"} in list(image.get_logs())
        with DockerContainer(str(image)).waiting_for(LogMessageWaitStrategy("built")) as here:
            assert here.get_logs() == (b"built\n", b"")
    assert "tested" not in engine.docker.out("images")
    engine.http.ok("POST", "/build/prune?all=1")


def test_containers_of_one_network_find_each_other_by_alias(engine: Daemon) -> None:
    with Network() as net:
        database = DockerContainer("busybox").with_command("sleep 600").with_network(net)
        app = DockerContainer("busybox").with_command("sleep 600").with_network(net)
        with database.with_network_aliases("db"), app:
            assert app.exec("ping -c 1 db").exit_code == 0
    assert engine.docker.out("ps", "-aq") == ""


def test_files_are_seen_through_a_bound_directory(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("from the host")
    with DockerContainer("busybox").with_command("sleep 600").with_volume_mapping(tmp_path, "/in") as box:
        assert box.exec("cat /in/word").output == b"from the host"
