"""The same engine through docker-py, which reads streams in its own ways."""

import time
from collections.abc import Iterator

import docker as docker_py
import pytest
from tests.support.engines import Daemon


@pytest.fixture
def client(engine: Daemon) -> Iterator[docker_py.DockerClient]:
    client = docker_py.DockerClient(base_url=f"unix://{engine.socket}", timeout=30)
    yield client
    client.close()


def test_it_negotiates_and_pings(client: docker_py.DockerClient) -> None:
    assert client.ping()
    assert client.version()["Os"] == "linux"


def test_a_run_gives_its_output(client: docker_py.DockerClient) -> None:
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"


def test_a_run_that_fails_raises_with_code_and_errors(client: docker_py.DockerClient) -> None:
    with pytest.raises(docker_py.errors.ContainerError) as raised:
        client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"])
    assert (raised.value.exit_status, raised.value.stderr) == (3, b"bad\n")


def test_a_missing_image_is_image_not_found(client: docker_py.DockerClient) -> None:
    with pytest.raises(docker_py.errors.ImageNotFound):
        client.images.get("nope")


def test_a_life_step_by_step(client: docker_py.DockerClient) -> None:
    box = client.containers.create("busybox", "sleep 600", name="box", labels={"a": "b"})
    assert box.status == "created"
    box.start()
    box.reload()
    assert box.status == "running"
    assert box.exec_run("echo hi").output == b"hi\n"
    assert box.exec_run("sh -c 'exit 4'").exit_code == 4
    code, (out, err) = box.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
    assert (code, out, err) == (0, b"o\n", b"e\n")
    assert [found.id for found in client.containers.list(filters={"label": "a=b"})] == [box.id]
    box.rename("other")
    box.kill()
    assert box.wait()["StatusCode"] == 137
    box.remove()
    with pytest.raises(docker_py.errors.NotFound):
        client.containers.get("other")


def test_logs_are_streamed(client: docker_py.DockerClient) -> None:
    box = client.containers.run("busybox", "sh -c 'echo a; echo b'", detach=True)
    assert b"".join(box.logs(stream=True, follow=True)) == b"a\nb\n"


def test_an_attached_stream_ends_with_the_container(client: docker_py.DockerClient) -> None:
    box = client.containers.create("busybox", "seq 1 1000")
    stream = box.attach(stream=True)
    box.start()
    assert len(b"".join(stream).split()) == 1000


def test_an_attached_socket_takes_input(client: docker_py.DockerClient) -> None:
    box = client.containers.create("busybox", ["sh", "-c", "read x; echo got $x"], stdin_open=True, tty=True)
    sock = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    sock._sock.sendall(b"it\n")
    seen = b""
    while b"got it" not in seen:
        part = sock._sock.recv(4096)
        assert part, seen
        seen += part
    sock.close()


def test_volumes_are_made_listed_and_removed(client: docker_py.DockerClient) -> None:
    volume = client.volumes.create("kept", labels={"a": "b"})
    assert [found.name for found in client.volumes.list(filters={"label": "a"})] == ["kept"]
    client.containers.run("busybox", "touch /v/x", volumes={"kept": {"bind": "/v"}}, remove=True)
    volume.remove()
    assert client.volumes.list() == []


def test_images_are_listed_and_tagged(client: docker_py.DockerClient) -> None:
    image = client.images.get("busybox")
    assert image.tag("other", "1")
    assert "other:1" in client.images.get("other:1").tags
    client.images.remove("other:1")


def test_events_are_decoded(client: docker_py.DockerClient) -> None:
    since = int(time.time())
    box = client.containers.create("busybox")
    events = client.events(since=since, decode=True, filters={"container": box.id})
    assert next(events)["Action"] == "create"
    events.close()
