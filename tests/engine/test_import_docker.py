"""`lighterman import-docker`: what dockerd has left becomes ours, to the byte."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct, field
from tests.support.engines import Engine, Reference
from tests.support.images import BUSYBOX, entry, saved, tarball
from tests.support.registry import Registry

pytestmark = pytest.mark.beyond_dockerd

BUILT = b"""FROM busybox
RUN rm /bin/vi && ln /etc/passwd /etc/again && mkdir -p /a/b && echo kept >/a/b/c && chown 7:8 /a/b/c
RUN rm -r /a/b && mkdir /a/b && echo new >/a/b/d && printf "odd" >"/$(printf 'n\\377')"
CMD ["cat", "/a/b/d"]
"""


class Left(Struct, frozen=True):
    """A dockerd that has been stopped, what it said of itself before, and an engine of ours."""

    reference: Reference
    images: dict[str, tuple[list[str], list[str], list[str]]]
    """By id: tags, digests, diff ids."""
    engine: Engine
    said: list[str] = field(default_factory=list)
    """By the runs that took it over: the first and one more."""

    def take_over(self, *flags: str) -> subprocess.CompletedProcess[str]:
        roots = [f"--from={self.reference.data}", f"--data-root={self.engine.data}"]
        command = [sys.executable, "-m", "lighterman", "import-docker", *roots, *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    reference, engine = Reference(), Engine()
    try:
        reference.start()
        docker = reference.docker
        docker("load", stdin=saved([BUSYBOX]))
        context = tarball([(entry("Dockerfile"), BUILT)])
        built = reference.http("POST", "/build?t=built:1", context, {"Content-Type": "application/x-tar"})
        assert b"Successfully tagged built:1" in built.body
        registry = Registry(reference.net, tmp_path_factory.mktemp("registry"))
        try:
            docker("tag", "busybox", f"{registry.name}/box:1")
            docker("push", f"{registry.name}/box:1")
        finally:
            registry.close()
        docker("volume", "create", "--label", "of=test", "data")
        docker.run("--rm", "-v", "data:/data", "busybox", "sh", "-c", "echo kept >/data/f; chown 7:8 /data/f")
        mountpoint = reference.data / "volumes" / "data" / "_data"
        os.setxattr(mountpoint / "f", "trusted.note", b"seen")
        os.link(mountpoint / "f", mountpoint / "again")
        mountpoint.chmod(0o1770)
        options = ["--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m"]
        docker("volume", "create", *options, "memory")
        docker("create", "--name", "stays", "busybox")
        images = told(reference)
        running = Left(reference, images, engine).take_over()
        assert running.returncode == 1
        assert "dockerd runs on" in running.stderr
        reference.stop()
        yield taken_over(Left(reference, images, engine))
    finally:
        reference.close()
        engine.close()


def taken_over(left: Left) -> Left:
    """The same, with what was there in the engine of ours, which runs."""
    listed = left.take_over("--dry-run")
    assert listed.returncode == 0
    assert "built:1" in listed.stdout
    assert not (left.engine.data / "state.db").exists()
    for _ in range(2):
        taken = left.take_over()
        assert taken.returncode == 0, taken.stdout + taken.stderr
        left.said.append(taken.stdout)
    assert left.engine.store_complaints() == []
    left.engine.start()
    return left


def told(daemon: Reference | Engine) -> dict[str, tuple[list[str], list[str], list[str]]]:
    """Of each image: tags, digests and diff ids; and of those without a name, too."""
    found = {}
    for summary in daemon.http.ok("GET", "/images/json?all=1"):
        image = daemon.http.ok("GET", f"/images/{summary['Id']}/json")
        names = sorted(image["RepoTags"] or []), sorted(image["RepoDigests"] or [])
        found[image["Id"]] = (*names, image["RootFS"]["Layers"])
    return found


def test_images_of_dockerd_are_the_same_images(left: Left) -> None:
    assert told(left.engine) == left.images
    docker = left.engine.docker
    look = "cat /a/b/d; ls /a/b /bin/vi; stat -c '%h %u' /etc/again; cat /n*"
    seen = docker("run", "--rm", "built:1", "sh", "-c", look, check=False).stdout.split()
    assert seen == ["new", "/a/b:", "d", "2", "0", "odd"]
    assert len(docker.out("history", "-q", "built:1").split()) == 4


def test_volumes_of_dockerd_keep_owners_links_attributes_and_labels(left: Left) -> None:
    docker = left.engine.docker
    volume = docker.inspect("data")
    assert volume["Labels"] == {"of": "test"}
    data = Path(volume["Mountpoint"])
    facts = (data / "f").stat()
    assert (facts.st_uid, facts.st_gid, facts.st_nlink, data.stat().st_mode & 0o7777) == (7, 8, 2, 0o1770)
    assert os.getxattr(data / "f", "trusted.note") == b"seen"
    assert docker.inspect("memory")["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    look = "cat /data/f; grep ' /m ' /proc/mounts"
    seen = docker.run("--rm", "-v", "data:/data", "-v", "memory:/m", "busybox", "sh", "-c", look)
    assert seen.startswith("kept\ntmpfs /m tmpfs")


def test_what_was_taken_over_is_left_alone_the_next_time(left: Left) -> None:
    first, again = left.said
    assert first.count(": taken") == again.count(": is here already") == len(left.images) + 2
    assert "1 containers stay with dockerd" in again


def test_a_data_root_in_use_is_not_written_to(left: Left) -> None:
    running = left.take_over()
    assert running.returncode == 1
    assert "is still running" in running.stderr
