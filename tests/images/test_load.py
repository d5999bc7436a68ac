"""Loading and importing: what comes of an archive, and what is left of a bad one: nothing."""

import asyncio
import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.content.archives import archive, file, hardlink, symlink
from tests.images.shelf import Shelf, config, digest, heard, ids, layer, opened, put, said, saved, sent
from tests.support.waiting import until

from lighterman.errdefs import Conflict, InvalidParameter, NotFound, System
from lighterman.images import ImportWish
from lighterman.lib import tar
from lighterman.lib.tar import Entry


async def test_a_saved_image_is_loaded_with_its_names(shelf: Shelf) -> None:
    layers = [layer("low"), layer("top")]
    raw = config(*layers)
    messages = await heard(shelf.images.load(sent(saved((raw, layers, ["a:1", "q.io/b:2"])))))
    assert said(messages) == "Loaded image: a:1\nLoaded image: q.io/b:2\n"
    image = shelf.images.find("a:1")
    assert (image.id, len(image.chain)) == (digest(raw), 2)
    assert ("load", image.id, {"name": image.id}) in shelf.told()


async def test_without_names_the_id_is_told(shelf: Shelf) -> None:
    raw = config(layer("f"))
    messages = await heard(shelf.images.load(sent(saved((raw, [layer("f")], [])))))
    assert said(messages) == f"Loaded image ID: {digest(raw)}\n"


async def test_progress_is_told_unless_quiet_was_asked_for(shelf: Shelf) -> None:
    loud = await heard(shelf.images.load(sent(saved((config(layer("a")), [layer("a")], ["a:1"])))))
    quiet = await heard(
        shelf.images.load(sent(saved((config(layer("b")), [layer("b")], ["b:1"]))), quiet=True)
    )
    assert [message.status for message in loud][:-1] == ["Loading layer"] * (len(loud) - 1)
    assert len(quiet) == 1


async def test_a_name_moves_to_the_image_loaded_last(shelf: Shelf) -> None:
    old = await put(shelf, "a:1", day=1)
    raw = config(layer("new"), day=2)
    messages = await heard(shelf.images.load(sent(saved((raw, [layer("new")], ["a:1"])))))
    assert f"The image a:1 already exists, renaming the old one with ID {old} to empty string" in said(
        messages
    )
    assert shelf.images.find("a:1").id == digest(raw)


@pytest.mark.parametrize("compress", [gzip.compress, lambda data: data])
async def test_archives_may_be_compressed(shelf: Shelf, compress: Callable[[bytes], bytes]) -> None:
    data = saved((config(layer("f")), [layer("f")], ["a:1"]))
    await heard(shelf.images.load(sent(compress(data))))
    assert shelf.images.find("a:1")


async def test_an_image_layout_is_loaded_and_its_blobs_are_kept_as_they_came(shelf: Shelf) -> None:
    packed, raw = gzip.compress(layer("f")), config(layer("f"))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"mediaType": "", "digest": digest(raw), "size": len(raw)},
            "layers": [{"mediaType": "y", "digest": digest(packed), "size": len(packed)}],
        }
    ).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": "docker.io/library/a:1"},
    }
    layout = archive(
        file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        file("index.json", json.dumps({"manifests": [entry]}).encode()),
        *(file(f"blobs/sha256/{digest(blob)[7:]}", blob) for blob in (raw, manifest, packed)),
    )
    assert said(await heard(shelf.images.load(sent(layout)))) == "Loaded image: a:1\n"
    assert shelf.rooms.content.digests() == {digest(packed)}


async def test_of_a_layout_for_several_platforms_the_hosts_is_loaded(shelf: Shelf) -> None:
    raw = config(layer("f"))
    blobs = [raw, layer("f")]

    def described(data: bytes, kind: str, **more: object) -> dict[str, object]:
        blobs.append(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    oci = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "config": described(raw, f"{oci}.config.v1+json"),
        "layers": [described(layer("f"), f"{oci}.layer.v1.tar")],
    }
    other = {"architecture": "s390x", "os": "linux"}
    here = {"architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine], "os": "linux"}
    index = {
        "schemaVersion": 2,
        "manifests": [
            described(b"{}", f"{oci}.manifest.v1+json", platform=other),
            described(json.dumps(manifest).encode(), f"{oci}.manifest.v1+json", platform=here),
        ],
    }
    named = {"io.containerd.image.name": "docker.io/library/a:1"}
    entry = described(json.dumps(index).encode(), f"{oci}.index.v1+json", annotations=named)
    layout = archive(
        file("index.json", json.dumps({"manifests": [entry]}).encode()),
        *(file(f"blobs/sha256/{digest(blob)[7:]}", blob) for blob in blobs),
    )
    assert said(await heard(shelf.images.load(sent(layout)))) == "Loaded image: a:1\n"
    assert shelf.images.find("a:1").id == digest(raw)


async def test_a_layer_shared_as_a_link_is_loaded(shelf: Shelf) -> None:
    same = layer("f")
    raw = config(same, same)
    manifest = [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}]
    data = archive(
        file("1/layer.tar", same),
        symlink("2/layer.tar", "../1/layer.tar"),
        file("c.json", raw),
        file("manifest.json", json.dumps(manifest).encode()),
    )
    await heard(shelf.images.load(sent(data)))
    assert len(shelf.images.find("a:1").chain) == 2


async def test_layers_are_unpacked_while_the_rest_still_arrives(shelf: Shelf) -> None:
    kept, other = layer("kept", b"x" * 5000), layer("other")
    raw = config(kept)
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["1/layer.tar"]}]).encode()
    data = archive(file("2/layer.tar", other), file("1/layer.tar", kept), file("c.json", raw))[
        : -len(tar.END)
    ]
    ingest = shelf.rooms.root / "ingest"

    async def slow() -> AsyncIterator[bytes]:
        yield data
        await asyncio.to_thread(until, lambda: len(list(ingest.glob("*/diff/*"))) == 2, what="both layers")
        yield archive(file("manifest.json", manifest))

    assert said(await heard(shelf.images.load(slow()))) == "Loaded image: a:1\n"
    assert shelf.images.find("a:1").id == digest(raw)
    assert os.listdir(ingest) == []
    assert len(shelf.rooms.content.digests()) == 1


async def test_of_two_members_with_one_name_the_later_counts(shelf: Shelf) -> None:
    wanted = layer("wanted")
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]).encode()
    data = archive(
        file("layer.tar", layer("first")),
        file("layer.tar", wanted),
        file("c.json", config(wanted)),
        file("manifest.json", manifest),
    )
    assert said(await heard(shelf.images.load(sent(data)))) == "Loaded image: a:1\n"


async def test_a_layer_that_is_here_is_not_unpacked_again(shelf: Shelf) -> None:
    image_id = await put(shelf, "a:1")
    saved_again = b"".join([piece async for piece in shelf.images.save(["a:1"])])
    begun: list[str] = []
    ingest = shelf.rooms.root / "ingest"

    async def watched() -> AsyncIterator[bytes]:
        async for piece in sent(saved_again):
            yield piece
            begun.extend(os.listdir(ingest))

    await heard(shelf.images.load(watched()))
    assert len(set(begun)) == 1
    assert shelf.images.find("a:1").id == image_id


def sparse(name: str) -> bytes:
    """A layer with a file of GNU tar's old sparse form."""
    return archive((Entry(name.encode(), b"S"), b""))


def manifest_of(**fields: object) -> bytes:
    return archive(file("manifest.json", json.dumps([fields]).encode()), file("c.json", config(layer("f"))))


def made_from(parent: str, other: str) -> bytes:
    """An image of two layers, and one of the lower alone, and the parents that the archive says they have."""
    members = [file("low", layer("low")), file("top", layer("top"))]
    members += [file("1.json", config(layer("low"), layer("top"))), file("2.json", config(layer("low")))]
    manifest = [
        {"Config": "1.json", "Layers": ["low", "top"], "Parent": parent},
        {"Config": "2.json", "Layers": ["low"], "Parent": other},
    ]
    return archive(*members, file("manifest.json", json.dumps(manifest).encode()))


UPPER, LOWER = digest(config(layer("low"), layer("top"))), digest(config(layer("low")))


async def test_images_of_one_archive_keep_what_they_were_made_from(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as shelf:
        await heard(shelf.images.load(sent(made_from(LOWER, digest(b"not in the archive")))))
        again = b"".join([piece async for piece in shelf.images.save([UPPER, LOWER])])
    for root, data in (("one", b""), ("other", again)):
        async with opened(tmp_path / root) as shelf:
            if data:
                await heard(shelf.images.load(sent(data)))
            assert (shelf.images.find(UPPER).parent, shelf.images.find(LOWER).parent) == (LOWER, "")
            with pytest.raises(Conflict):
                await shelf.images.delete(LOWER, force=False, noprune=False)


BAD = {
    "a parent that is none": (made_from("", UPPER), f"image {UPPER} is not a valid parent for {LOWER}"),
    "no archive": (
        b"no archive" * 100,
        "Error processing tar file(exit status 1): archive/tar: invalid tar header",
    ),
    "half an archive": (saved((config(layer("f")), [layer("f")], []))[:1500], "unexpected EOF"),
    "nothing": (b"", "repositories: no such file or directory"),
    "an archive from before manifests": (
        archive(file("repositories", b"{}"), file("1/json", b"{}"), file("1/layer.tar", layer("f"))),
        "an archive without manifest.json (made before Docker 1.10) is not supported",
    ),
    "a sparse file of GNU tar": (
        saved((config(sparse("f")), [sparse("f")], ["a:1"])),
        "sparse files are not supported: b'f'",
    ),
    "an archive of something else": (archive(file("x")), "repositories: no such file or directory"),
    "a name out": (archive(file("../x")), "outside of the archive's root"),
    "a missing layer": (
        manifest_of(Config="c.json", Layers=["nope"]),
        "nope: no such file or directory",
    ),
    "a layer out": (manifest_of(Config="c.json", Layers=["../../etc/passwd"]), "no such file or directory"),
    "a layer too few": (manifest_of(Config="c.json", Layers=[]), "layers length mismatch"),
    "a missing configuration": (manifest_of(Config="nope.json", Layers=[]), "no such file or directory"),
    "a wrong layer": (saved((config(layer("f")), [layer("g")], ["a:1"])), "don't match image configuration"),
    "a name that is none": (saved((config(layer("f")), [layer("f")], ["UP:1"])), "must be lowercase"),
    "a hostile layer": (
        saved((config(archive(file("../x"))), [archive(file("../x"))], ["a:1"])),
        "outside of the archive's root",
    ),
    "a whiteout of dots": (
        saved((config(archive(file(".wh..."))), [archive(file(".wh..."))], ["a:1"])),
        "outside of the archive's root",
    ),
    "a configuration that is none": (
        archive(file("manifest.json", b'[{"Config": "manifest.json"}]')),
        "configuration",
    ),
}


@pytest.mark.parametrize(("data", "message"), BAD.values(), ids=BAD.keys())
async def test_of_a_bad_archive_nothing_is_left(shelf: Shelf, data: bytes, message: str) -> None:
    messages = await heard(shelf.images.load(sent(data)))
    assert isinstance(messages[-1].error, str)
    assert message in messages[-1].error
    assert len(shelf.images) == 0
    assert os.listdir(shelf.rooms.root / "layers") == []
    assert shelf.rooms.content.digests() == set()


async def test_a_loaded_image_is_there_at_the_next_start(tmp_path: Path) -> None:
    async with opened(tmp_path / "root") as before:
        image_id = await put(before, "a:1", "b:1", Labels={"k": "v"})
        shown = before.images.inspect("a:1")
    async with opened(tmp_path / "root") as after:
        assert after.images.find("b:1").id == image_id
        assert after.images.inspect("a:1") == shown


async def test_an_import_has_one_layer_and_the_changes_asked_for(shelf: Shelf) -> None:
    stream = await shelf.images.import_(
        sent(layer("bin/sh")), ImportWish("me/imp", "1", "mine", ['CMD ["sh"]', "ENV A=b"])
    )
    (message,) = await heard(stream)
    image = shelf.images.find("me/imp:1")
    assert message.status == image.id
    assert (image.config.cmd, image.config.env, image.document.comment) == (["sh"], ["A=b"], "mine")
    assert [action for action, _, _ in shelf.told()] == ["tag", "import"]


async def test_an_import_of_no_archive_leaves_nothing(shelf: Shelf) -> None:
    with pytest.raises(InvalidParameter, match="archive/tar: invalid tar header"):
        await shelf.images.import_(sent(b"no archive" * 100), ImportWish())
    assert ids(shelf) == []
    assert shelf.rooms.content.digests() == set()


@pytest.mark.parametrize("member", [file("../x"), file("a/../../x"), file(".wh..."), hardlink("h", "../x")])
async def test_a_hostile_import_is_refused_and_leaves_nothing(
    shelf: Shelf, member: tuple[Entry, bytes]
) -> None:
    with pytest.raises(InvalidParameter, match="outside of the archive's root"):
        await shelf.images.import_(sent(archive(file("good"), member)), ImportWish())
    assert ids(shelf) == []
    assert [os.listdir(shelf.rooms.root / name) for name in ("layers", "ingest")] == [[], []]


async def test_an_upload_that_breaks_off_leaves_nothing(shelf: Shelf) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield layer("f")[:700]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await shelf.images.import_(broken(), ImportWish())
    assert len(shelf.images) == 0


async def test_what_others_wrote_with_pax_is_imported(shelf: Shelf) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as writer:
        writer.addfile(tarfile.TarInfo("d" * 90 + "/" + "n" * 200), io.BytesIO(b""))
    await shelf.images.import_(sent(made.getvalue()), ImportWish("a"))
    assert shelf.images.find("a").size_bytes == 0


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """A web server with one file."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "root.tar").write_bytes(layer("from/afar", b"x" * 1_000_000))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def test_a_root_file_system_is_imported_from_afar(shelf: Shelf, website: str) -> None:
    messages = await heard(await shelf.images.import_url(f"{website}/root.tar", ImportWish("a")))
    assert messages[0].status == f"Downloading from http://{website}/root.tar"
    assert "Importing" in [message.status for message in messages]
    image = shelf.images.find("a")
    assert messages[-1].status == image.id
    assert image.document.comment == f"Imported from http://{website}/root.tar"


async def test_what_is_not_there_is_not_imported(shelf: Shelf, website: str) -> None:
    with pytest.raises(NotFound, match=r"failed to GET http://.*/nope with status 404"):
        await shelf.images.import_url(f"{website}/nope", ImportWish())
    with pytest.raises(InvalidParameter, match='unsupported protocol scheme "file"'):
        await shelf.images.import_url("file:///etc/passwd", ImportWish())
    with pytest.raises(System, match="connection refused"):
        await shelf.images.import_url("127.0.0.1:1", ImportWish())
