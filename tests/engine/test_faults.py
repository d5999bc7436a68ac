"""Registries that lie, disks that are full, runtimes that are missing: a clear error, and nothing harmed."""

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.conftest import lasting
from tests.support.cli import DockerCLI, Failed
from tests.support.engines import Daemon, Engine
from tests.support.false_registry import FalseRegistry
from tests.support.images import busybox_layer, config, entry, heavy_layers, tarball


@pytest.fixture
def false(engine: Daemon) -> Iterator[FalseRegistry]:
    """A registry that says what the test wants; after it nothing may be left of what it said."""
    before = engine.traces()
    registry = FalseRegistry(engine.net.listen(("127.0.0.1", 0)))
    yield registry
    registry.close()
    engine.clean()
    engine.forget_images()
    assert lasting(engine, before) == []


def test_an_honest_answer_of_the_false_registry_is_pulled(docker: DockerCLI, false: FalseRegistry) -> None:
    docker("pull", false.serve("honest", [busybox_layer()]))


def test_a_layer_that_breaks_off_again_and_again_is_an_error(new_engine: type[Daemon]) -> None:
    daemon = new_engine(options=["--max-download-attempts=2"])
    false = FalseRegistry(daemon.net.listen(("127.0.0.1", 0)))
    try:
        daemon.start()
        image = false.serve("broken", [busybox_layer(), next(heavy_layers(1, 5_000_000))])
        false.cut = 900_000
        refused = daemon.docker("pull", image, check=False)
        assert (refused.code, "EOF" in refused.stderr or "broke" in refused.stderr) == (1, True), refused
        assert re.search(r": Retrying in \d seconds?\n", refused.stdout)
        assert "broken" not in daemon.docker.out("images")
    finally:
        false.close()
        daemon.close()


def test_a_layer_that_breaks_off_once_is_fetched_on(docker: DockerCLI, false: FalseRegistry) -> None:
    image = false.serve("hiccup", [busybox_layer(), next(heavy_layers(1, 5_000_000))])
    false.cut, false.cuts_left = 1_000_000, 1
    docker("pull", image)
    assert docker.run("--rm", image, "ls", "/data0/0") == "/data0/0"


def test_a_layer_of_other_bytes_than_its_digest_is_refused(docker: DockerCLI, false: FalseRegistry) -> None:
    image = false.serve("liar", [busybox_layer(), *heavy_layers(1, 100_000)])
    false.replace_layers(gzip.compress(tarball([(entry("evil", mode=0o644), b"evil")]), mtime=0))
    refused = docker("pull", image, check=False)
    assert refused.code == 1
    assert re.search("verification failed|digest|unexpected EOF", refused.stderr), refused.stderr


def test_a_manifest_of_another_digest_is_refused(docker: DockerCLI, false: FalseRegistry) -> None:
    false.serve("swap", [busybox_layer()])
    wanted = f"{false.name}/swap@sha256:{'0' * 64}"
    false.manifests["swap", f"sha256:{'0' * 64}"] = false.manifests["swap", "1"]
    refused = docker("pull", wanted, check=False)
    assert refused.code == 1
    assert re.search("verification failed|digest", refused.stderr), refused.stderr


def test_a_layer_whose_content_is_not_the_configs_is_refused(docker: DockerCLI, false: FalseRegistry) -> None:
    """The blob is what the manifest says, but not what the configuration says."""
    other = config([tarball([(entry("promised"), b"")])])
    refused = docker("pull", false.serve("other", [busybox_layer()], document=other), check=False)
    assert refused.code == 1


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([(entry("../../canary", mode=0o644), b"evil")], id="dots"),
        pytest.param([(entry("/../../../../../../..{canary}", mode=0o644), b"evil")], id="absolute"),
        pytest.param(
            [
                (entry("way", kind=tarfile.SYMTYPE, linkname="{folder}"), b""),
                (entry("way/canary", mode=0o644), b"evil"),
            ],
            id="through-a-link",
        ),
        pytest.param([(entry("hard", kind=tarfile.LNKTYPE, linkname="{canary}"), b"")], id="hard-link"),
        pytest.param(
            [
                (entry("soft", kind=tarfile.SYMTYPE, linkname="{canary}"), b""),
                (entry("soft", mode=0o644), b"evil"),
            ],
            id="over-a-link",
        ),
        pytest.param([(entry("a/.wh...", mode=0o644), b"")], id="whiteout-of-dots"),
        pytest.param(
            [
                (entry("way", kind=tarfile.SYMTYPE, linkname="{folder}"), b""),
                (entry("way/.wh.canary", mode=0o644), b""),
            ],
            id="whiteout-through-a-link",
        ),
    ],
)
def test_a_layer_that_reaches_out_touches_nothing_outside(
    engine: Daemon,
    docker: DockerCLI,
    false: FalseRegistry,
    tmp_path: Path,
    entries: list[tuple[tarfile.TarInfo, bytes]],
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("alive")
    aimed = []
    for info, data in entries:
        copy = tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict")
        copy.name = info.name.replace("{canary}", str(canary))
        copy.linkname = info.linkname.replace("{canary}", str(canary)).replace("{folder}", str(tmp_path))
        aimed.append((copy, data))
    image = false.serve("escape", [busybox_layer(), tarball(aimed)])
    docker("pull", image, check=False)  # it may be refused, or kept inside the layer
    assert canary.read_text() == "alive"
    assert canary.stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary"]
    for root in (engine.data, engine.data.parent, Path("/"), Path("/tmp")):
        assert not (root / "canary").exists()


def test_a_bomb_is_no_harm(docker: DockerCLI, false: FalseRegistry) -> None:
    """A manifest that says less than the layer is: what is too much is not even read."""
    image = false.serve("bomb", [busybox_layer(), *heavy_layers(1, 200_000)])
    kind, document = false.manifests["bomb", "1"]
    told = json.loads(document)
    told["layers"][1]["size"] = 10
    false.manifests["bomb", "1"] = kind, json.dumps(told).encode()
    assert docker("pull", image, check=False).code == 1


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A tmpfs of `size` at `path`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_container_fills_the_disk_and_can_be_removed(new_engine: type[Daemon], archive: Path) -> None:
    daemon = new_engine()
    try:
        with small_disk(daemon.data, "40m"):
            daemon.start()
            daemon.docker("load", "-i", archive)
            docker = daemon.docker
            before = daemon.traces()
            full = docker(
                "run", "--name", "full", "busybox", "dd", "if=/dev/zero", "of=/x", "bs=1M", check=False
            )
            assert "No space left on device" in full.stderr
            with contextlib.suppress(Failed):
                docker("run", "--rm", "busybox", "true")
            docker("rm", "-f", "full")
            assert docker.run("--rm", "busybox", "echo", "works") == "works"
            daemon.clean()
            assert lasting(daemon, before) == []
            daemon.stop()
    finally:
        daemon.close()


class WithoutRuntimes(Engine):
    """Our engine on a machine whose crun and runc cannot be run."""

    def command(self) -> list[str]:
        paths = " ".join(found for name in ("crun", "runc") if (found := shutil.which(name)))
        hide = f'for path in {paths}; do mount --bind /dev/null "$path"; done; exec "$@"'
        return ["unshare", "-m", "sh", "-c", hide, "-", *super().command()]


@pytest.mark.beyond_dockerd
def test_a_missing_runtime_is_told(archive: Path) -> None:
    """The engine serves what needs none, and each start says what is missing."""
    daemon = WithoutRuntimes()
    try:
        daemon.start()
        daemon.docker("load", "-i", archive)
        before = daemon.traces()
        refused = daemon.docker("run", "--name", "box", "busybox", "true", check=False)
        assert refused.code == 125
        assert re.search("crun|runc|runtime", refused.stderr)
        assert daemon.docker.inspect("box")["State"]["Status"] == "created"
        daemon.clean()
        assert lasting(daemon, before) == []
    finally:
        daemon.close()


@pytest.mark.beyond_dockerd
def test_a_runtime_that_vanishes_is_told(new_engine: type[Daemon], archive: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "vanishing"
    runtime.write_text('#!/bin/sh\nexec runc "$@"\n')
    runtime.chmod(0o755)
    daemon = new_engine(options=[f"--add-runtime=vanishing={runtime}"])
    try:
        daemon.start()
        daemon.docker("load", "-i", archive)
        assert daemon.docker.run("--rm", "--runtime", "vanishing", "busybox", "echo", "there") == "there"
        before = daemon.traces()
        runtime.unlink()
        refused = daemon.docker("run", "--rm", "--runtime", "vanishing", "busybox", "true", check=False)
        assert refused.code in (125, 127)
        assert "vanishing" in refused.stderr
        assert daemon.docker.run("--rm", "busybox", "echo", "others work") == "others work"
        daemon.clean()
        assert lasting(daemon, before) == []
    finally:
        daemon.close()


def test_two_engines_do_not_share_a_data_root(engine: Daemon) -> None:
    """The second one refuses to start, and the first does not notice."""
    argv = [word.replace(str(engine.socket), f"{engine.root}/other.sock") for word in engine.command()]
    second = subprocess.run(engine.net.entered(argv), capture_output=True, timeout=25, check=False)
    assert second.returncode != 0
    assert engine.answers()
    assert os.path.exists(engine.socket)
