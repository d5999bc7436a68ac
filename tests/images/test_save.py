"""Saved archives: what is in them, who can read them, and that the same comes back."""

import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.images.shelf import Shelf, digest, heard, layer, opened, put, sent

from lighterman.errdefs import InvalidParameter, NotFound, System


async def saved(shelf: Shelf, *names: str) -> bytes:
    return b"".join([piece async for piece in shelf.images.save(names)])


def members(data: bytes) -> dict[str, bytes]:
    """Names of files and links, with what stands behind them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            member.name: file.read()
            for member in archive
            if not member.isdir() and (file := archive.extractfile(member)) is not None
        }


def skopeo(*args: str) -> str:
    return subprocess.run(["skopeo", *args], check=True, capture_output=True, text=True).stdout


async def test_an_archive_is_what_docker_and_oci_expect(shelf: Shelf) -> None:
    layers = [layer("low"), layer("top")]
    image_id = await put(shelf, "a:1", "q.io/b:2", layers=layers)
    found = members(await saved(shelf, "a:1", "q.io/b"))
    (item,) = json.loads(found["manifest.json"])
    assert item["RepoTags"] == ["a:1", "q.io/b:2"]
    assert digest(found[item["Config"]]) == image_id
    assert [found[name] for name in item["Layers"]] == layers
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    entries = json.loads(found["index.json"])["manifests"]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in entries] == [
        "docker.io/library/a:1",
        "q.io/b:2",
    ]
    manifest = json.loads(found[f"blobs/sha256/{entries[0]['digest'][7:]}"])
    assert [one["digest"] for one in manifest["layers"]] == [digest(one) for one in layers]
    assert [one["size"] for one in manifest["layers"]] == [len(one) for one in layers]
    assert found[f"{image_id[7:]}.json"] == found[item["Config"]]
    top = json.loads(found["repositories"])["a"]["1"]
    assert found[f"{top}/layer.tar"] == layers[1]
    below = json.loads(found[f"{top}/json"])["parent"]
    assert found[f"{below}/layer.tar"] == layers[0]


async def test_what_is_saved_is_loaded_as_the_same_image(shelf: Shelf, tmp_path: Path) -> None:
    image_id = await put(shelf, "a:1", layers=[layer("low"), layer("top")])
    data = await saved(shelf, "a:1")
    async with opened(tmp_path / "other") as other:
        await heard(other.images.load(sent(data, size=1 << 16)))
        assert other.images.find("a:1").id == image_id
        assert b"".join([piece async for piece in other.images.save(["a:1"])]) == data
        one, two = shelf.rooms.root / "layers", other.rooms.root / "layers"
        assert sorted(path.name for path in one.glob("*/diff/*")) == sorted(
            path.name for path in two.glob("*/diff/*")
        )


@pytest.mark.parametrize("transport", ["docker-archive:{}:a:1", "oci-archive:{}:1"])
async def test_others_read_what_was_saved(shelf: Shelf, tmp_path: Path, transport: str) -> None:
    layers = [layer("low"), layer("top", b"x" * 100_000)]
    image_id = await put(shelf, "a:1", layers=layers)
    (tmp_path / "a.tar").write_bytes(await saved(shelf, "a:1"))
    source = transport.format(tmp_path / "a.tar")
    assert json.loads(skopeo("inspect", source))["Layers"] == [digest(one) for one in layers]
    skopeo("copy", "--insecure-policy", source, f"dir:{tmp_path}/copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    assert manifest["config"]["digest"] == image_id


@pytest.mark.parametrize(
    ("transport", "options"),
    [
        ("docker-archive:{}:b:2", []),
        ("oci-archive:{}:b:2", []),
        ("oci-archive:{}:b:2", ["--dest-compress-format=zstd", "--dest-compress"]),
    ],
)
async def test_what_others_wrote_is_loaded(
    shelf: Shelf, tmp_path: Path, transport: str, options: Sequence[str]
) -> None:
    image_id = await put(shelf, "a:1", layers=[layer("low"), layer("top")])
    (tmp_path / "a.tar").write_bytes(await saved(shelf, "a:1"))
    target = transport.format(tmp_path / "b.tar")
    skopeo("copy", "--insecure-policy", *options, f"docker-archive:{tmp_path}/a.tar:a:1", target)
    async with opened(tmp_path / "other") as other:
        messages = await heard(other.images.load(sent((tmp_path / "b.tar").read_bytes(), size=1 << 16)))
        assert not isinstance(messages[-1].error, str), messages[-1].error
        found = other.images.find("b:2")
        assert found.diff_ids == shelf.images.find(image_id).diff_ids
        if "docker" in transport:
            assert found.id == image_id


async def test_names_mean_what_docker_means_by_them(shelf: Shelf) -> None:
    one = await put(shelf, "a:1", day=1)
    two = await put(shelf, "a:2", day=2)
    tags = {
        item["Config"].rpartition("/")[2]: item["RepoTags"]
        for item in json.loads(members(await saved(shelf, "a", one[7:20]))["manifest.json"])
    }
    assert tags == {one[7:]: ["a:1"], two[7:]: ["a:2"]}
    for ref in (two, two[:20], two[7:20]):
        (nameless,) = json.loads(members(await saved(shelf, ref))["manifest.json"])
        assert nameless["RepoTags"] is None
    assert members(await saved(shelf)) == {"manifest.json": b"null\n"}
    assert shelf.told()[-1][:2] == ("save", two)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("nope", NotFound, "No such image: nope"),
        ("nope:1", NotFound, "reference does not exist"),
        ("UP", InvalidParameter, "invalid reference format: repository name must be lowercase"),
    ],
)
async def test_what_is_not_here_is_told_before_anything_is_sent(
    shelf: Shelf, name: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as refused:
        shelf.images.save([name])
    assert str(refused.value) == said


async def test_a_save_that_is_given_up_holds_nothing(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1", layers=[layer("big", b"x" * 30_000_000)])
    pieces = shelf.images.save(["a:1"])
    assert await anext(pieces)
    await shelf.images.delete("a:1")
    assert shelf.rooms.snapshots.layer_ids()  # what is being sent stays until it is
    await pieces.aclose()
    assert not shelf.rooms.snapshots.layer_ids()
    with pytest.raises(NotFound):
        shelf.images.find(image_id)


async def test_a_blob_that_is_not_what_its_row_says_ends_the_stream(shelf: Shelf) -> None:
    await put(shelf, "a:1", layers=[layer("f", b"x" * 100_000)])
    (blob,) = shelf.rooms.content.digests()
    path = shelf.rooms.content.path(blob)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(System, match="cannot save"):
        await saved(shelf, "a:1")
