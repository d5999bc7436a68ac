"""push, save, commit, login, df and search as the docker command line and docker-py use them."""

import io
import json
import secrets
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import docker as docker_py
import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon, Engine
from tests.support.http import Http
from tests.support.images import busybox_layer, heavy_layers, saved
from tests.support.registry import Registry
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _only_busybox_stays(engine: Daemon) -> Iterator[None]:
    yield
    engine.clean()
    engine.forget_images()


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of busybox and three more layers."""
    path = tmp_path_factory.mktemp("layered") / "layered.tar"
    path.write_bytes(saved(["layered:1"], [busybox_layer(), *heavy_layers(3, 3_000_000)]))
    return path


def test_an_image_goes_to_a_registry_and_comes_back(
    docker: DockerCLI, registry: Registry, layered: Path
) -> None:
    docker("load", "-i", layered)
    image_id = docker.inspect("layered:1")["Id"]
    name = f"{registry.name}/pushed:1"
    docker("tag", "layered:1", name)
    told = docker.out("push", name).splitlines()
    assert told[0] == f"The push refers to repository [{registry.name}/pushed]"
    assert sum(line.endswith(": Pushed") for line in told) == 4
    assert told[-1].startswith("1: digest: sha256:")
    again = docker.out("push", name).splitlines()
    assert sum(line.endswith(": Layer already exists") for line in again) == 4
    docker("rmi", name, "layered:1")
    docker("pull", name)
    assert docker.inspect(name)["Id"] == image_id
    assert docker.run("--rm", name, "ls", "/data2/0") == "/data2/0"


def test_a_push_without_credentials_is_told(docker: DockerCLI, http: Http, registry: Registry) -> None:
    refused = http("POST", f"/images/{registry.name}/x/push?tag=1")
    assert refused.status == 400
    assert refused.json == {"message": "Bad parameters and missing X-Registry-Auth: EOF"}
    missing = docker("push", f"{registry.name}/nope:1", check=False)
    assert missing.code == 1
    assert f"An image does not exist locally with the tag: {registry.name}/nope" in missing.stderr


def test_credentials_are_neither_kept_nor_logged(
    engine: Daemon, docker: DockerCLI, registry: Registry, layered: Path
) -> None:
    secret = secrets.token_hex(16)
    auth = {"username": "me", "password": secret, "serveraddress": registry.name}
    docker("load", "-i", layered)
    name = f"{registry.name}/hushed"
    docker("tag", "layered:1", f"{name}:1")
    assert b"aux" in engine.http("POST", f"/images/{name}/push?tag=1", auth).body
    engine.http("POST", "/auth", auth)
    docker("rmi", f"{name}:1", "layered:1")
    (engine.root / "cli/config.json").write_text(
        json.dumps({"auths": {registry.name: {"auth": b64encode(f"me:{secret}".encode()).decode()}}})
    )
    try:
        docker("pull", "-q", f"{name}:1")
    finally:
        (engine.root / "cli/config.json").unlink()
    assert secret not in engine.log
    until(lambda: not any((engine.data / "trash").iterdir()), what="the trash to be emptied")
    kept = [path for top in (engine.data, engine.exec) for path in top.rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


def test_a_login_without_a_password_wanted_succeeds(docker: DockerCLI, registry: Registry) -> None:
    told = docker("login", "-u", "me", "--password-stdin", registry.name, stdin=b"secret")
    assert "Login Succeeded" in told.stdout
    docker("logout", registry.name)
    nobody = docker("login", "-u", "me", "--password-stdin", "127.0.0.1:1", stdin=b"secret", check=False)
    assert 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused' in nobody.stderr


def test_several_images_are_saved_and_loaded(docker: DockerCLI, layered: Path, tmp_path: Path) -> None:
    docker("load", "-i", layered)
    docker("tag", "busybox", "layered:2")
    ids = [docker.inspect(name)["Id"] for name in ("layered:1", "busybox")]
    docker("save", "-o", tmp_path / "all.tar", "layered", "busybox")
    with tarfile.open(tmp_path / "all.tar") as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        tags = sorted(sorted(item["RepoTags"]) for item in json.load(manifest))
    assert tags == [["busybox:latest", "layered:2"], ["layered:1"]]
    docker("rmi", "layered:1", "layered:2")
    told = docker.out("load", "-i", tmp_path / "all.tar").splitlines()
    assert sorted(told) == [
        "Loaded image: busybox:latest",
        "Loaded image: layered:1",
        "Loaded image: layered:2",
    ]
    assert [docker.inspect(name)["Id"] for name in ("layered:1", "layered:2")] == ids
    missing = docker("save", "nope", "-o", tmp_path / "x", check=False)
    assert "No such image: nope" in missing.stderr


def test_a_container_is_committed_with_changes(docker: DockerCLI, http: Http) -> None:
    docker.run("--name", "box", "busybox", "sh", "-c", "echo hi >/new; rm /etc/group")
    image_id = docker.out(
        *("commit", "-a", "me", "-m", "why", "-c", 'CMD ["cat", "/new"]', "-c", "ENV P=$PATH:/x"),
        *("box", "made:1"),
    )
    assert docker.run("--rm", "made:1") == "hi"
    shown = docker.inspect(image_id)
    assert (shown["Author"], shown["Comment"], shown["RepoTags"]) == ("me", "why", ["made:1"])
    assert any(
        each.startswith("P=/usr/sbin:/usr/bin") and each.endswith(":/x") for each in shown["Config"]["Env"]
    )
    assert "group" not in docker.run("--rm", "made:1", "ls", "/etc")
    assert "sh -c echo hi" in docker.out("history", "made:1")
    wrong = docker("commit", "-c", "RUN x", "box", check=False)
    assert "run is not a valid change command" in wrong.stderr
    missing = http("POST", "/commit?container=nope", {})
    assert (missing.status, missing.json) == (404, {"message": "No such container: nope"})


def test_a_running_container_stands_still_while_it_is_committed(docker: DockerCLI) -> None:
    docker.run("-d", "--name", "box", "busybox", "sh", "-c", "while :; do date >/now; done")
    since = docker.out("info", "-f", "{{.SystemTime}}")
    docker("commit", "box", "made:1")
    docker("commit", "--pause=false", "box", "made:2")
    until = docker.out("info", "-f", "{{.SystemTime}}")
    events = docker.out("events", "--since", since, "--until", until, "--format", "{{.Type}} {{.Action}}")
    made = ["image tag", "container commit"]
    assert events.splitlines() == ["container pause", *made, "container unpause", *made]
    assert docker.inspect("box")["State"]["Status"] == "running"


@pytest.mark.parametrize("verb", ["kill", "rm"])
def test_a_container_can_be_ended_while_it_is_committed(
    engine: Daemon, docker: DockerCLI, http: Http, verb: str
) -> None:
    script = "dd if=/dev/urandom of=/big bs=1M count=60 2>/dev/null; touch /ready; sleep 600"
    cid = docker.run("-d", "busybox", "sh", "-c", script)
    until(lambda: docker("exec", cid, "test", "-e", "/ready", check=False).code == 0, what="the file")
    whole = docker.out("exec", cid, "md5sum", "/big").split()[0]
    with docker.spawn("commit", cid, "committed:1") as client:
        shown = f"/containers/{cid}/json"
        until(lambda: http.ok("GET", shown)["State"]["Paused"], what="the pause", process=client)
        if verb == "kill":
            docker("kill", cid)
            until(lambda: docker.inspect(cid)["State"]["Status"] == "exited", what="the end")
        else:
            docker("rm", "-f", cid)
        client.communicate()
    assert docker.run("--rm", "committed:1", "md5sum", "/big").split()[0] == whole
    if isinstance(engine, Engine):
        assert engine.store_complaints() == []


def test_what_takes_room_is_told(docker: DockerCLI, layered: Path) -> None:
    docker("load", "-i", layered)
    docker.run("--name", "box", "-v", "vol:/v", "busybox", "sh", "-c", "echo 12345 >/f; echo 123 >/v/f")
    rows = {
        row["Type"]: row
        for row in map(json.loads, docker.out("system", "df", "--format", "{{json .}}").splitlines())
    }
    assert rows["Images"]["TotalCount"] == "2"
    assert rows["Images"]["Active"] == "1"
    assert rows["Containers"]["Size"] == "6B"
    assert rows["Local Volumes"]["Size"] == "4B"
    verbose = json.loads(docker.out("system", "df", "-v", "--format", "{{json .}}"))
    images = {image["Repository"]: image for image in verbose["Images"]}
    assert images["busybox"]["Containers"] == "1"
    assert images["busybox"]["UniqueSize"] == "0B"  # all of it is shared


def test_a_search_asks_the_registrys_catalogue_and_says_when_nobody_is_there(
    docker: DockerCLI, registry: Registry, archive: Path
) -> None:
    for name in ("found/one", "found/two", "other"):
        registry.push(archive, f"{name}:1")
    found = docker.out("search", "--format", "{{.Name}}", f"{registry.name}/found").splitlines()
    assert found == [f"{registry.name}/found/one", f"{registry.name}/found/two"]
    one = docker.out("search", "--limit", "1", "--format", "{{.Name}}", f"{registry.name}/found")
    assert one == f"{registry.name}/found/one"
    lost = docker("search", "127.0.0.1:9/x", check=False)
    assert "connection refused" in lost.stderr
    wrong = docker("search", "--limit", "101", "x", check=False)
    assert "Limit 101 is outside the range of [1, 100]" in wrong.stderr


def test_docker_py_saves_pushes_and_commits(engine: Daemon, docker: DockerCLI, registry: Registry) -> None:
    client = docker_py.DockerClient(base_url=f"unix://{engine.socket}", version="auto")
    try:
        container = client.containers.run("busybox", ["sh", "-c", "echo py >/py"], detach=True)
        container.wait()
        image = container.commit(f"{registry.name}/py", tag="1", changes=["LABEL from=py"])
        assert image.labels == {"from": "py"}
        data = b"".join(image.save(named=True))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert "manifest.json" in archive.getnames()
        told = client.images.push(f"{registry.name}/py", tag="1", stream=True, decode=True)
        aux = [line["aux"] for line in told if "aux" in line]
        assert aux[0]["Tag"] == "1"
        found = client.images.get_registry_data(f"{registry.name}/py:1")
        assert found.id == aux[0]["Digest"]
        assert found.has_platform("linux/amd64")
        client.images.remove(image.id, force=True)
        (loaded,) = client.images.load(data)
        assert loaded.id == image.id
        assert client.df()["LayersSize"] > 0
    finally:
        client.close()
