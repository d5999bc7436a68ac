"""pull, import, load, tag, list, inspect and rmi."""

import io
import json
import re
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.images import busybox_layer, entry, heavy_layers, saved, tarball
from tests.support.registry import MANIFEST, MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST, Registry

OURS = {"os": "linux", "architecture": "amd64"}


@pytest.fixture(autouse=True)
def _only_busybox_stays(engine: Daemon) -> Iterator[None]:
    yield
    engine.clean()
    engine.forget_images()


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of busybox and five layers of a megabyte each."""
    path = tmp_path_factory.mktemp("layered") / "layered.tar"
    layers = [busybox_layer(), *heavy_layers(5, 5_000_000)]
    path.write_bytes(saved(["layered:1"], layers, Labels={"made": "here"}))
    return path


@pytest.mark.parametrize(("form", "kind"), [("v2s2", MANIFEST), ("oci", OCI_MANIFEST)])
def test_an_image_is_pulled_in_both_forms(
    engine: Daemon, docker: DockerCLI, registry: Registry, layered: Path, form: str, kind: str
) -> None:
    image = registry.push(layered, f"layered:{form}", form=form)
    told = docker.out("pull", image).splitlines()
    assert told[0] == f"{form}: Pulling from layered"
    assert told[-2:] == [f"Status: Downloaded newer image for {image}", image]
    (digest,) = [line.removeprefix("Digest: ") for line in told if line.startswith("Digest: ")]
    assert docker.inspect(image)["RepoDigests"] == [f"{registry.name}/layered@{digest}"]
    assert docker.inspect(image)["Config"]["Labels"] == {"made": "here"}
    assert len(docker.inspect(image)["RootFS"]["Layers"]) == 6
    assert docker.run("--rm", image, "ls", "/data4/0") == "/data4/0"
    assert registry.manifest("layered", form, kind)
    docker("rmi", image)


def test_progress_is_told_for_each_layer(
    http: Http, docker: DockerCLI, registry: Registry, layered: Path
) -> None:
    image = registry.push(layered, "layered:progress")
    with http.stream("POST", f"/images/create?fromImage={registry.name}/layered&tag=progress") as told:
        assert told.getheader("Content-Type") == "application/json"
        raw = told.read()
    lines = [json.loads(line) for line in raw.split(b"\r\n") if line]
    steps: dict[str, list[str]] = {}
    for line in lines:
        if re.fullmatch("[0-9a-f]{12}", line.get("id", "")):
            steps.setdefault(line["id"], []).append(line["status"])
    assert len(steps) == 6
    for one in steps.values():
        assert one[0] in ("Pulling fs layer", "Already exists")
        assert one[-1] in ("Pull complete", "Already exists")
    shown = [line for line in lines if line["status"] == "Downloading"]
    assert shown
    assert all(line["progressDetail"]["current"] <= line["progressDetail"]["total"] for line in shown)
    assert all("B/" in line["progress"] for line in shown)
    docker("rmi", image)


@pytest.mark.parametrize(("kind", "form"), [(MANIFEST_LIST, "v2s2"), (OCI_INDEX, "oci")])
def test_a_list_gives_the_image_of_this_platform(
    docker: DockerCLI, registry: Registry, tmp_path: Path, kind: str, form: str
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).write_bytes(saved([f"{name}:1"], Labels={"for": name}))
        registry.push(tmp_path / name, f"multi:{name}-{form}", form=form)
    theirs = {"os": "linux", "architecture": "s390x"}
    image = registry.put_list(
        "multi", f"list-{form}", [(f"theirs-{form}", theirs), (f"ours-{form}", OURS)], kind=kind
    )
    docker("pull", image)
    assert docker.inspect(image)["Config"]["Labels"] == {"for": "ours"}
    docker("rmi", image)


def test_a_list_without_this_platform_is_told(docker: DockerCLI, registry: Registry, archive: Path) -> None:
    registry.push(archive, "foreign:inner")
    image = registry.put_list(
        "foreign", "list", [("inner", {"os": "linux", "architecture": "s390x"})], kind=MANIFEST_LIST
    )
    refused = docker("pull", image, check=False)
    assert "no matching manifest for linux/amd64 in the manifest list entries" in refused.stderr


def test_a_second_pull_is_up_to_date(docker: DockerCLI, registry: Registry, archive: Path) -> None:
    image = registry.push(archive, "again:1")
    docker("pull", image)
    assert f"Status: Image is up to date for {image}" in docker.out("pull", image)
    docker("rmi", image)


def test_an_image_is_pulled_by_its_digest(docker: DockerCLI, registry: Registry, archive: Path) -> None:
    registry.push(archive, "exact:1")
    docker("pull", f"{registry.name}/exact:1")
    (name,) = docker.inspect(f"{registry.name}/exact:1")["RepoDigests"]
    docker("rmi", f"{registry.name}/exact:1")
    docker("pull", name)
    assert docker.run("--rm", name, "echo", "exact") == "exact"
    docker("rmi", name)


def test_all_tags_can_be_pulled(docker: DockerCLI, registry: Registry, archive: Path) -> None:
    for tag in ("a", "b"):
        registry.push(archive, f"many:{tag}")
    docker("pull", "-a", f"{registry.name}/many")
    told = docker.out("images", "--format", "{{.Tag}}", f"{registry.name}/many").split()
    assert sorted(told) == ["a", "b"]


def test_what_the_registry_does_not_have_is_not_found(
    http: Http, docker: DockerCLI, registry: Registry
) -> None:
    refused = docker("pull", f"{registry.name}/nothing:1", check=False)
    assert (
        f"manifest for {registry.name}/nothing:1 not found: manifest unknown: manifest unknown"
        in refused.stderr
    )
    answer = http("POST", f"/images/create?fromImage={registry.name}/nothing&tag=1")
    assert answer.status == 404


def test_a_registry_that_is_not_there_is_told(docker: DockerCLI) -> None:
    refused = docker("pull", "127.0.0.1:9/x:1", check=False)
    assert "connection refused" in refused.stderr


def test_load_brings_the_tags_and_says_so(docker: DockerCLI, tmp_path: Path) -> None:
    path = tmp_path / "two.tar"
    path.write_bytes(saved(["one:1", "two:2"], Env=["A=b"], WorkingDir="/tmp"))
    assert docker.out("load", "-i", path).splitlines() == ["Loaded image: one:1", "Loaded image: two:2"]
    assert docker.run("--rm", "two:2", "pwd") == "/tmp"
    assert docker.inspect("one:1")["Id"] == docker.inspect("two:2")["Id"]


def test_load_without_tags_tells_the_id(docker: DockerCLI, tmp_path: Path) -> None:
    path = tmp_path / "none.tar"
    path.write_bytes(saved([], Labels={"tags": "none"}))
    assert re.fullmatch("Loaded image ID: sha256:[0-9a-f]{64}", docker.out("load", "-i", path))


@pytest.mark.parametrize("data", [b"not a tar at all" * 100, b"\0" * 1024])
def test_load_of_something_else_is_refused(docker: DockerCLI, data: bytes) -> None:
    before = docker.out("images", "-aq")
    docker("load", stdin=data, check=False)
    assert docker.out("images", "-aq") == before


def test_an_imported_file_system_runs_with_the_changes_asked_for(docker: DockerCLI) -> None:
    changes = ('CMD ["echo","imported"]', "ENV A=b", "WORKDIR /tmp", "LABEL k=v")
    words = [word for change in changes for word in ("-c", change)]
    told = docker.out("import", "-m", "by hand", *words, "-", "made:1", stdin=busybox_layer())
    assert re.fullmatch("sha256:[0-9a-f]{64}", told)
    assert docker.run("--rm", "made:1") == "imported"
    found = docker.inspect("made:1")
    assert (found["Comment"], found["Config"]["Labels"]) == ("by hand", {"k": "v"})
    assert {"A=b"} <= set(found["Config"]["Env"])
    assert docker.run("--rm", "made:1", "pwd") == "/tmp"


def test_every_compression_is_imported(docker: DockerCLI) -> None:
    import bz2
    import gzip
    import lzma

    import zstandard

    plain = tarball([(entry("f", mode=0o644), b"same")])
    ids = set()
    for data in (plain, gzip.compress(plain), bz2.compress(plain), lzma.compress(plain)):
        ids.add(docker.inspect(docker.out("import", "-", stdin=data))["RootFS"]["Layers"][0])
    assert len(ids) == 1
    assert zstandard.compress(plain)


def test_what_a_layer_holds_arrives_as_it_was(docker: DockerCLI) -> None:
    entries = [
        (entry("d", kind=tarfile.DIRTYPE, mode=0o1777, uid=7, gid=8), b""),
        (entry("d/setuid", mode=0o4755, uid=1000, mtime=1_000_000_000), b"x"),
        (
            entry(
                "d/hard",
                kind=tarfile.LNKTYPE,
                linkname="d/setuid",
                mode=0o4755,
                uid=1000,
                mtime=1_000_000_000,
            ),
            b"",
        ),
        (entry("d/soft", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
        (entry("d/pipe", kind=tarfile.FIFOTYPE, mode=0o600), b""),
        (entry("d/null", kind=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3), b""),
        (entry("d/" + "long" * 40, mode=0o644), b"long"),
        (entry("d/ümlaut", mode=0o644), "ü".encode()),
    ]
    docker("import", "-", "base:1", stdin=busybox_layer())
    path = io.BytesIO(saved(["kinds:1"], [busybox_layer(), tarball(entries)]))
    docker("load", stdin=path.getvalue())
    told = docker.run(
        "--rm", "kinds:1", "stat", "-c", "%n %a %u:%g %h %F", "/d", "/d/setuid", "/d/pipe", "/d/null"
    )
    assert told.splitlines() == [
        "/d 1777 7:8 2 directory",
        "/d/setuid 4755 1000:0 2 regular file",
        "/d/pipe 600 0:0 1 fifo",
        "/d/null 666 0:0 1 character special file",
    ]
    assert docker.run("--rm", "kinds:1", "readlink", "/d/soft") == "/etc/passwd"
    assert docker.run("--rm", "kinds:1", "cat", "/d/" + "long" * 40, "/d/ümlaut") == "longü"
    assert docker.run("--rm", "kinds:1", "stat", "-c", "%Y", "/d/hard") == "1000000000"


def test_a_whiteout_hides_what_lies_below(docker: DockerCLI) -> None:
    upper = tarball(
        [
            (entry("etc/.wh.group"), b""),
            (entry("home/.wh..wh..opq"), b""),
            (entry("home/new", mode=0o644), b"n"),
        ]
    )
    lower = tarball([(entry("home/old", mode=0o644), b"o")])
    docker("load", stdin=saved(["hidden:1"], [busybox_layer(), lower, upper]))
    assert docker.run("--rm", "hidden:1", "sh", "-c", "ls /etc /home").split() == [
        "/etc:", "hostname", "hosts", "mtab", "passwd", "resolv.conf", "/home:", "new",
    ]  # fmt: skip


def test_images_lists_what_there_is(docker: DockerCLI) -> None:
    docker("tag", "busybox", "listed:1")
    told = json.loads(docker.out("images", "--format", "json", "listed"))
    assert (told["Repository"], told["Tag"]) == ("listed", "1")
    assert re.fullmatch(r"\d(\.\d+)?MB", told["Size"])
    assert docker.out("images", "-q", "--filter", "reference=lis*:1") == told["ID"]
    assert docker.out("images", "-q", "--filter", "label=nothing") == ""
    docker("rmi", "listed:1")


def test_tag_gives_another_name_and_refuses_nonsense(docker: DockerCLI, http: Http) -> None:
    docker("tag", "busybox", "127.0.0.1:5000/a/b:c")
    assert docker.inspect("127.0.0.1:5000/a/b:c")["Id"] == docker.inspect("busybox")["Id"]
    docker("rmi", "127.0.0.1:5000/a/b:c")
    answer = http("POST", "/images/busybox/tag?repo=UP")
    assert b"invalid reference format: repository name must be lowercase" in answer.body
    assert http("POST", "/images/nope/tag?repo=x").json == {"message": "No such image: nope:latest"}


def test_rmi_untags_and_then_deletes(docker: DockerCLI) -> None:
    docker("load", stdin=saved(["gone:1"], [busybox_layer(), tarball([(entry("only"), b"here")])]))
    docker("tag", "gone:1", "gone:2")
    assert docker.out("rmi", "gone:1").splitlines() == ["Untagged: gone:1"]
    told = docker.out("rmi", "gone:2").splitlines()
    assert told[0] == "Untagged: gone:2"
    assert [line.split(":")[0] for line in told[1:]] == ["Deleted"] * (len(told) - 1)
    assert "No such image: gone:2" in docker("inspect", "--type=image", "gone:2", check=False).stderr


def test_rmi_of_what_a_container_uses_is_refused(docker: DockerCLI) -> None:
    docker("load", stdin=saved(["used:1"], Labels={"used": "yes"}))
    cid = docker.out("create", "used:1")
    refused = docker("rmi", "used:1", check=False)
    assert (
        f'conflict: unable to remove repository reference "used:1" (must force) - container {cid[:12]} '
        "is using its referenced image" in refused.stderr
    )
    docker("rm", cid)
    docker("rmi", "used:1")


def test_history_goes_from_the_top_down(docker: DockerCLI, layered: Path) -> None:
    docker("load", "-i", layered)
    told = docker.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "layered:1").splitlines()
    assert told == [f"layer {n}" for n in range(5, -1, -1)]


def test_a_pull_and_a_push_are_seen_as_bars(docker: DockerCLI, registry: Registry, layered: Path) -> None:
    image = registry.push(layered, "layered:bars")
    shown = docker.pty("pull", image, columns=200).read()
    assert re.search(rb"[0-9a-f]{12}: Downloading \[=*> *\] +[\d.]+k?B/[\d.]+k?B", shown)
    assert re.search(rb"[0-9a-f]{12}: Extracting \[=+> *\] ", shown)
    assert shown.count(b": Pull complete") >= 2
    docker("tag", image, f"{registry.name}/bars:1")
    assert re.search(rb"Preparing|Pushed|Mounted from", docker.pty("push", f"{registry.name}/bars:1").read())
    docker("rmi", image, f"{registry.name}/bars:1")


def test_a_running_pull_is_shared(docker: DockerCLI, registry: Registry, layered: Path) -> None:
    image = registry.push(layered, "layered:shared")
    clients = [docker.spawn("pull", "-q", image) for _ in range(4)]
    assert [client.communicate(timeout=60)[0].decode().strip() for client in clients] == [image] * 4
    docker("rmi", image)


def test_events_tell_what_happens_to_images(
    engine: Daemon, docker: DockerCLI, registry: Registry, archive: Path
) -> None:
    image = registry.push(archive, "told:1")
    since = time.time()
    docker("pull", image)
    docker("tag", image, "told:2")
    docker("rmi", "told:2", image)
    asked = f"/events?since={since:.9f}&until={time.time():.9f}&filters=%7B%22type%22%3A%5B%22image%22%5D%7D"
    told = [json.loads(line)["Action"] for line in engine.http("GET", asked).body.splitlines()]
    assert told == ["pull", "tag", "untag", "untag"]
