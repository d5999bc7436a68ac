"""A disk that is full at any step of making an image: it is told, nothing stays, and with room it works."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import Struct
from tests.engine.test_faults import small_disk
from tests.support.contexts import build
from tests.support.engines import Engine
from tests.support.images import busybox_layer, heavy_layers, saved
from tests.support.registry import Registry
from tests.support.waiting import until

from lighterman.images.check import check_store

PARTS = (0.0, 0.3, 0.6, 0.9)
"""How much of what it needs each try finds; the disk is full at another step of it."""

BOOKS_BYTES = 300_000
"""What the rows may have grown by."""


class Small(Struct):
    """An engine on a small disk, a registry beside it, and an archive of an image of 3 MB in three layers."""

    engine: Engine
    registry: Registry
    archive: Path

    @property
    def free(self) -> int:
        """Bytes that are left, once what was removed is gone."""
        trash = self.engine.data / "trash"
        until(lambda: not any(trash.iterdir()), what="the trash to be emptied")
        disk = os.statvfs(self.engine.data)
        return disk.f_bavail * disk.f_bsize

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        taken = self.free - left
        with (self.engine.data / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, taken)

    def make_room(self) -> None:
        """Take away what fills the disk."""
        (self.engine.data / "filler").unlink()

    def files(self) -> set[Path]:
        """What images and containers are made of, and what is unfinished or thrown away."""
        tops = ("blobs", "layers", "ingest", "trash", "snapshots", "containers")
        found = (path for top in tops for path in (self.engine.data / top).rglob("*"))
        return {path for path in found if not path.is_dir()}


@pytest.fixture(scope="module")
def small(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    daemon, folder = Engine(), tmp_path_factory.mktemp("small")
    image = folder / "image.tar"
    image.write_bytes(saved(["made:1"], [busybox_layer(), *heavy_layers(3, 3_000_000)]))
    try:
        with small_disk(daemon.data, "48m"):
            daemon.start()
            daemon.docker("load", "-i", archive)
            registry = Registry(daemon.net, folder)
            registry.push(image, "made:1")
            yield Small(daemon, registry, image)
            registry.close()
            daemon.stop()
    finally:
        daemon.close()


Verb = Callable[[Small], str]


def pull(small: Small) -> str:
    return small.engine.docker("pull", "-q", f"{small.registry.name}/made:1", check=False).stderr


def load(small: Small) -> str:
    told = small.engine.docker("load", "-i", small.archive, check=False)
    return told.stderr + told.stdout * told.code


def import_(small: Small) -> str:
    layer = next(heavy_layers(1, 3_000_000))
    return small.engine.docker("import", "-", "made:1", stdin=layer, check=False).stderr


def commit(small: Small) -> str:
    return small.engine.docker("commit", "writer", "made:1", check=False).stderr


def building(small: Small) -> str:
    noise = os.urandom(1_500_000)
    text = "FROM busybox\nCOPY a /a\nRUN cat /a /a >/b\n"
    built = build(small.engine.http, text, "t=made:1&nocache=1&forcerm=1", {"a": noise})
    return built.text + built.error if built.error else ""


VERBS: dict[str, Verb] = {
    "pull": pull,
    "load": load,
    "import": import_,
    "commit": commit,
    "build": building,
}


def undo(small: Small) -> None:
    """Take away what a verb has made."""
    small.engine.forget_images()
    small.engine.http.ok("POST", "/build/prune?all=1")


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_told_and_nothing_stays(small: Small, verb: str) -> None:
    docker, act = small.engine.docker, VERBS[verb]
    if verb == "commit":
        script = "head -c 3000000 /dev/urandom >/x"
        docker.run("--name", "writer", "busybox", "sh", "-c", script)
    before, whole = small.files(), small.free
    act(small)
    needed = whole - small.free
    assert needed > 1_000_000
    undo(small)
    for part in PARTS:
        small.fill(int(needed * part))
        told = act(small)
        assert "no space left on device" in told.lower(), (part, told)
        assert "made" not in docker.out("images")
        small.make_room()
        undo(small)
        assert small.free > whole - BOOKS_BYTES
        assert small.files() == before
    assert act(small) == ""
    assert check_store(small.engine.data).complaints == []
    undo(small)
    small.engine.clean()


def test_a_push_and_a_removal_need_no_room(small: Small) -> None:
    docker, target = small.engine.docker, f"{small.registry.name}/pushed:1"
    assert load(small) == ""
    docker("tag", "made:1", target)
    small.fill(0)
    docker("push", "-q", target)
    docker("rmi", "made:1", target)
    small.make_room()
    assert "made" not in docker.out("images")
    assert check_store(small.engine.data).complaints == []
    docker("pull", "-q", target)
    undo(small)
