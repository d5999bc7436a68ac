"""What is read of dockerd's data root, and what of it is told to be no use."""

import fcntl
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.images import config, digest

from lighterman.__main__ import main
from lighterman.daemon.import_docker import DockerRoot
from lighterman.errdefs import System

LAYER = b"no tar, since nobody reads it here"
RAW = config([LAYER])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = tmp_path / "image" / "overlay2"
    layer = images / "layerdb" / "sha256" / digest(LAYER)[7:]
    contents = images / "imagedb" / "content" / "sha256"
    for directory in (layer, contents, tmp_path / "volumes" / "data" / "_data"):
        directory.mkdir(parents=True)
    (layer / "size").write_text("1000000")
    (contents / digest(RAW)[7:]).write_bytes(RAW)
    names = {"busybox:latest": digest(RAW), f"busybox@{digest(b'manifest')}": digest(RAW)}
    (images / "repositories.json").write_text(json.dumps({"Repositories": {"busybox": names}}))
    return tmp_path


def faults(root: Path) -> list[str]:
    docker = DockerRoot(root)
    return [image.fault for image in docker.images()] + [volume.fault for volume in docker.volumes()]


def test_an_image_has_its_tags_and_digests_and_the_size_of_its_layers(root: Path) -> None:
    (image,) = DockerRoot(root).images()
    assert [name.familiar() for name in image.names] == ["busybox:latest", f"busybox@{digest(b'manifest')}"]
    assert (image.id, image.size_bytes, image.fault) == (digest(RAW), 1_000_000, "")


def test_a_root_without_images_is_told(root: Path) -> None:
    assert DockerRoot(root).has_images()
    (root / "image").rename(root / "elsewhere")
    told = CliRunner().invoke(main, ["import-docker", f"--from={root}", "--dry-run"])
    assert told.output.splitlines()[0] == "volume data  0.0 MB"
    assert "there are no images of overlay2" in told.output


def test_a_layer_that_is_lost_is_told(root: Path) -> None:
    (root / "image/overlay2/layerdb/sha256" / digest(LAYER)[7:]).rename(root / "gone")
    assert faults(root) == [f"cannot be taken: layer {digest(LAYER)} is lost", ""]


def test_an_image_that_is_not_what_its_id_says_is_told(root: Path) -> None:
    (root / "image/overlay2/imagedb/content/sha256" / digest(RAW)[7:]).write_bytes(RAW + b" ")
    assert faults(root)[0] == "cannot be taken: its configuration is not what its id says"


def test_the_options_of_a_volume_are_found_where_its_driver_keeps_them(root: Path) -> None:
    kept = {"MountType": "nfs", "MountOpts": "addr=192.0.2.1", "MountDevice": ":/x", "Quota": {"Size": 0}}
    (root / "volumes/data/opts.json").write_text(json.dumps(kept))
    (volume,) = DockerRoot(root).volumes()
    assert volume.options == {"type": "nfs", "o": "addr=192.0.2.1", "device": ":/x"}
    assert volume.is_mounted  # so nothing of the directory is copied
    assert volume.size_bytes() == 0


def test_shifted_owners_of_volumes_are_told_and_those_of_layers_do_not_matter(root: Path) -> None:
    remapped = root.rename(root.with_name("100000.100000"))
    assert faults(remapped) == ["", "cannot be taken: its owners are shifted by userns-remap"]


def test_a_book_that_cannot_be_read_ends_it(root: Path) -> None:
    (root / "volumes/metadata.db").write_bytes(b"no book")
    with pytest.raises(System, match=r"metadata\.db cannot be read: it has no meta page"):
        list(DockerRoot(root).volumes())


def test_a_dockerd_that_runs_holds_the_book_of_its_volumes(root: Path) -> None:
    with DockerRoot(root).held(), (root / "volumes/metadata.db").open("wb") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        with pytest.raises(System, match="dockerd runs on"), DockerRoot(root).held():
            pass


def test_another_storage_driver_and_other_directories_are_refused(root: Path) -> None:
    (root / "image/overlay2").rename(root / "image/vfs")
    with pytest.raises(System, match="of the storage driver vfs, not of overlay2"):
        DockerRoot(root)
    with pytest.raises(System, match="is no data root of dockerd"):
        DockerRoot(root / "volumes")
