"""The same image in other hands: dockerd, podman and skopeo read what we write, we read what they write.

An image has one id everywhere, the digest of its configuration, and the same files to the last attribute.
"""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon, Engine, Reference
from tests.support.images import busybox_layer, digest, entry, saved, tarball
from tests.support.registry import Registry

from lighterman.content.verify import differences

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service, as setcap writes it."""


def rich_layers() -> list[bytes]:
    """All that a layer can hold: modes, owners, times, attributes, links, fifos, devices, whiteouts."""
    attributes = {
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"),
    }
    same: dict[str, Any] = {
        "mode": 0o6755,
        "uid": 9,
        "mtime": 1_100_000_000,
    }  # a link's entry repeats what its file has
    low = tarball(
        [
            (entry("rich", kind=tarfile.DIRTYPE, mode=0o2750, uid=7, gid=8, mtime=1_000_000_000), b""),
            (entry("rich/setuid", **same), b"s" * 5000),
            (entry("rich/able", mode=0o711, pax_headers=attributes), b"able"),
            (entry("rich/fraction", pax_headers={"mtime": "1234567890.123456789"}), b""),
            (entry("rich/hard", kind=tarfile.LNKTYPE, linkname="rich/setuid", **same), b""),
            (
                entry("rich/soft", kind=tarfile.SYMTYPE, linkname="../nowhere", uid=5, mtime=1_200_000_000),
                b"",
            ),
            (entry("rich/pipe", kind=tarfile.FIFOTYPE, mode=0o620), b""),
            (entry("rich/zero", kind=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=5), b""),
            (entry("rich/" + "long" * 40, mtime=1_300_000_000), b"long"),
            (entry("rich/ümläut and blank"), b""),
            (entry("gone", kind=tarfile.DIRTYPE), b""),
            (entry("gone/file"), b"gone"),
            (entry("hidden", kind=tarfile.DIRTYPE), b""),
            (entry("hidden/file"), b"hidden"),
        ]
    )
    top = tarball(
        [
            (entry("gone/.wh.file"), b""),
            (entry("hidden", kind=tarfile.DIRTYPE, mode=0o700, mtime=1_400_000_000), b""),
            (entry("hidden/.wh..wh..opq"), b""),
            (entry("hidden/new"), b"new"),
            (entry("rich/setuid", mode=0o4711, uid=1, mtime=1_500_000_000), b"changed"),
        ]
    )
    return [busybox_layer(), low, top]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rich") / "rich.tar"
    path.write_bytes(saved(["rich:1"], rich_layers()))
    return path


@pytest.fixture(autouse=True)
def _only_busybox_stays(engine: Daemon) -> Iterator[None]:
    yield
    engine.clean()
    engine.forget_images()


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Reference]:
    daemon = Reference()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Podman"]:
    podman = Podman(tmp_path_factory.mktemp("podman"))
    yield podman
    podman("rmi", "--all", "--force")


class Podman:
    """podman with a storage of its own."""

    def __init__(self, root: Path) -> None:
        self.options = [f"--root={root}/root", f"--runroot={root}/run", f"--tmpdir={root}/tmp"]
        self.options += ["--storage-driver=overlay", "--events-backend=none"]

    def __call__(self, *args: object) -> str:
        """What podman says."""
        command = ["podman", *self.options, *map(str, args)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def layer_dirs(docker: DockerCLI, ref: str) -> list[str]:
    """The directories of an image's layers, topmost first."""
    data = docker.inspect(ref)["GraphDriver"]["Data"]
    return [data["UpperDir"], *data.get("LowerDir", "").split(":")]


def times_of_directories(root: str) -> dict[str, int]:
    return {os.path.relpath(folder, root): os.stat(folder).st_mtime_ns for folder, _, _ in os.walk(root)}


def test_a_pulled_image_has_the_files_that_dockerds_has(
    docker: DockerCLI, registry: Registry, dockerd: Reference, rich: Path
) -> None:
    name = registry.push(rich, "rich:1")
    beside = Registry(dockerd.net, registry.storage)
    try:
        docker("pull", "-q", name)
        dockerd.docker("pull", "-q", name)
    finally:
        beside.close()
    ours, theirs = docker.inspect(name), dockerd.docker.inspect(name)
    for field in ("Id", "RepoDigests", "RootFS", "Config", "Created", "Architecture", "Size"):
        assert ours[field] == theirs[field], field
    pairs = list(zip(layer_dirs(docker, name), layer_dirs(dockerd.docker, name), strict=True))
    assert len(pairs) == 3
    for here, there in pairs:
        assert list(differences(os.fsencode(here), os.fsencode(there))) == []
    told = [times_of_directories(here).get(folder) for here, _ in pairs for folder in ("rich", "hidden")]
    assert told.count(1_000_000_000 * 10**9) == 1
    assert told.count(1_400_000_000 * 10**9) == 1


def test_dockerd_podman_and_skopeo_read_what_was_saved(
    docker: DockerCLI, dockerd: Reference, podman: Podman, rich: Path, tmp_path: Path
) -> None:
    docker("load", "-i", rich)
    image_id = docker.inspect("rich:1")["Id"]
    docker("save", "-o", tmp_path / "ours.tar", "rich:1")
    dockerd.docker("load", "-i", tmp_path / "ours.tar")
    assert dockerd.docker.inspect("rich:1")["Id"] == image_id
    podman("load", "-q", "-i", tmp_path / "ours.tar")
    assert podman("image", "inspect", "--format", "{{.Id}}", "rich:1") == image_id.removeprefix("sha256:")
    for transport in ("docker-archive", "oci-archive"):
        raw = subprocess.run(
            ["skopeo", "inspect", "--config", "--raw", f"{transport}:{tmp_path}/ours.tar"],
            check=True,
            capture_output=True,
        ).stdout
        assert digest(raw) == image_id


def test_what_dockerd_and_podman_save_is_read(
    docker: DockerCLI, dockerd: Reference, podman: Podman, rich: Path, tmp_path: Path
) -> None:
    dockerd.docker("load", "-i", rich)
    image_id = dockerd.docker.inspect("rich:1")["Id"]
    podman("load", "-q", "-i", rich)
    dockerd.docker("save", "-o", tmp_path / "dockerd.tar", "rich:1")
    for form in ("docker-archive", "oci-archive"):
        podman("save", "-q", "--format", form, "-o", tmp_path / f"{form}.tar", "rich:1")
    for made in ("dockerd", "docker-archive", "oci-archive"):
        told = docker.out("load", "-q", "-i", tmp_path / f"{made}.tar")
        name = told.rpartition(": ")[2]
        shown = docker.inspect(name)
        # podman writes the configuration anew where it makes an OCI one of it
        assert made == "oci-archive" or shown["Id"] == image_id, made
        assert shown["RootFS"] == dockerd.docker.inspect("rich:1")["RootFS"]
        docker("rmi", name)


def test_a_store_that_was_used_is_whole(engine: Daemon, docker: DockerCLI, rich: Path) -> None:
    docker("load", "-i", rich)
    cid = docker.run("-d", "rich:1", "sh", "-c", "rm -r /rich; mkdir /rich; ln -s x /rich/l; sleep 600")
    docker("commit", cid, "made:1")
    if isinstance(engine, Engine):
        assert engine.store_complaints() == []
