"""Snapshots: real overlay mounts on a throw-away data root."""

import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.content.archives import directory, file, symlink
from tests.snapshots.rooms import Rooms, started

from lighterman.content import trash
from lighterman.errdefs import Conflict, NotFound, System
from lighterman.images.check import check_store
from lighterman.linux import mount
from lighterman.snapshots import overlay

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.fixture
async def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rooms]:
    monkeypatch.setattr(trash, "DELAY_S", 0.0)
    async with started(tmp_path / "root") as rooms:
        yield rooms
        for key in os.listdir(rooms.root / "snapshots"):
            await rooms.snapshots.remove(key)
    assert overlay.mount_points(tmp_path) == []
    assert os.listdir(tmp_path / "root/ingest") == []


async def test_a_container_sees_all_layers_and_writes_to_its_own(rooms: Rooms) -> None:
    low = await rooms.layer(directory("d"), file("d/low", b"low"), file("d/both", b"low"), file("gone"))
    top = await rooms.layer(file("d/both", b"top"), file(".wh.gone"), parent=low)
    await rooms.snapshots.prepare("c", top)
    merged = await rooms.snapshots.mount("c")
    assert (merged / "d/low").read_bytes() == b"low"
    assert (merged / "d/both").read_bytes() == b"top"
    assert not (merged / "gone").exists()
    (merged / "d/new").write_bytes(b"12345")
    assert await rooms.snapshots.size("c") == 5
    assert os.listdir(rooms.snapshots.dirs("c")["UpperDir"] + "/d") == ["new"]


async def test_the_places_to_mount_on_are_there_and_not_in_the_containers_layer(rooms: Rooms) -> None:
    base = await rooms.layer(
        directory("etc", 0o750, uid=5),
        file("etc/hosts", b"image's"),
        symlink("dev", "/etc"),
        symlink("proc", "x"),
    )
    await rooms.snapshots.prepare("c", base)
    merged = await rooms.snapshots.mount("c")
    for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console", ".dockerenv"):
        assert stat.S_ISREG((merged / name).lstat().st_mode)
        assert (merged / name).stat().st_size == 0
    for name in ("dev", "dev/pts", "dev/shm", "proc", "sys"):
        assert stat.S_ISDIR((merged / name).lstat().st_mode)
    assert os.readlink(merged / "etc/mtab") == "/proc/mounts"
    assert (stat.S_IMODE((merged / "etc").stat().st_mode), (merged / "etc").stat().st_uid) == (0o750, 5)
    assert os.listdir(rooms.snapshots.dirs("c")["UpperDir"]) == []


async def test_the_root_has_the_owner_and_mode_that_the_image_gave_it(rooms: Rooms) -> None:
    base = await rooms.layer(directory(".", 0o711, uid=9))
    await rooms.snapshots.prepare("c", base)
    found = (await rooms.snapshots.mount("c")).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o711, 9)


async def test_a_container_without_image_layers_has_its_places_too(rooms: Rooms) -> None:
    await rooms.snapshots.prepare("c", None)
    assert (await rooms.snapshots.mount("c") / "dev/pts").is_dir()


async def test_each_verb_may_come_twice(rooms: Rooms) -> None:
    base = await rooms.layer(file("f"))
    await rooms.snapshots.prepare("c", base)
    with pytest.raises(Conflict):
        await rooms.snapshots.prepare("c", base)
    assert await rooms.snapshots.mount("c") == await rooms.snapshots.mount("c")
    await rooms.snapshots.unmount("c")
    await rooms.snapshots.unmount("c")
    await rooms.snapshots.remove("c")
    await rooms.snapshots.remove("c")
    with pytest.raises(NotFound):
        await rooms.snapshots.mount("c")


@pytest.mark.parametrize("volatile", [False, True])
async def test_what_was_written_is_there_after_the_next_mount(rooms: Rooms, *, volatile: bool) -> None:
    base = await rooms.layer(file("f"))
    await rooms.snapshots.prepare("c", base)
    for round_ in range(3):
        merged = await rooms.snapshots.mount("c", volatile=volatile)
        (merged / f"{round_}").touch()
        await rooms.snapshots.unmount("c")
    merged = await rooms.snapshots.mount("c", volatile=volatile)
    assert {"0", "1", "2"} <= set(os.listdir(merged))


async def test_an_unmount_takes_what_is_mounted_inside_with_it(rooms: Rooms) -> None:
    base = await rooms.layer(directory("mnt"))
    await rooms.snapshots.prepare("c", base)
    merged = await rooms.snapshots.mount("c")
    mount.bind(str(rooms.root / "blobs"), str(merged / "mnt"))
    await rooms.snapshots.unmount("c")
    assert overlay.mount_points(rooms.root) == []


async def test_more_layers_than_a_page_of_options_are_mounted(rooms: Rooms) -> None:
    top = ""
    for number in range(150):
        top = await rooms.layer(file(f"f{number}"), parent=top)
    await rooms.snapshots.prepare("c", top)
    merged = await rooms.snapshots.mount("c")
    assert sum(name.startswith("f") for name in os.listdir(merged)) == 150


async def test_the_old_way_of_mounting_shows_the_same(rooms: Rooms, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"a:b,c {name}" for name in ("low", "top")} | {
        name: tmp_path / name for name in ("upper", "work", "merged")
    }
    for name, path in paths.items():
        path.mkdir()
        (path / name).touch()
    (paths["work"] / "work").unlink()
    overlay.mount_overlay(
        [paths["top"], paths["low"]],
        paths["upper"],
        paths["work"],
        paths["merged"],
        volatile=False,
        by_fds=False,
    )
    assert sorted(os.listdir(paths["merged"])) == ["low", "top", "upper"]
    tree = overlay.detach(paths["merged"])
    assert tree is not None
    os.close(tree)


async def test_layers_go_with_their_blobs_and_the_trash_is_emptied(rooms: Rooms) -> None:
    low = await rooms.layer(file("a"))
    top = await rooms.layer(file("b"), parent=low)
    assert await rooms.snapshots.remove_layers([low, top]) == [top, low]
    assert rooms.content.digests() == set()
    await rooms.snapshots.close()
    assert os.listdir(rooms.root / "layers") == []


@pytest.mark.parametrize("verb", ["publish", "remove"])
async def test_without_its_row_nothing_changes(rooms: Rooms, verb: str) -> None:
    """A layer whose row cannot be written lies nowhere; one whose row cannot be deleted stays."""
    kept = await rooms.layer(file("low"))
    rooms.db._connection.execute("PRAGMA query_only=1")
    with pytest.raises(System, match=r"state\.db cannot be written: "):
        if verb == "publish":
            await rooms.layer(file("top"), parent=kept)
        else:
            await rooms.snapshots.remove_layers([kept])
    rooms.db._connection.execute("PRAGMA query_only=0")
    for ingest in (rooms.root / "ingest").iterdir():
        rooms.content.discard(ingest)
    assert check_store(rooms.root).complaints == []
    assert rooms.snapshots.layer_ids() == [kept]
    assert await rooms.snapshots.remove_layers([kept]) == [kept]


async def test_a_layer_stays_as_long_as_a_container_stands_on_it(rooms: Rooms) -> None:
    low = await rooms.layer(file("a", b"kept"))
    await rooms.snapshots.prepare("c", low)
    assert await rooms.snapshots.remove_layers([low]) == []
    assert (await rooms.snapshots.mount("c") / "a").read_bytes() == b"kept"
    await rooms.snapshots.remove("c")
    assert rooms.snapshots.layer(low) is None


async def test_a_layer_that_an_image_has_again_stays(rooms: Rooms) -> None:
    low = await rooms.layer(file("a"))
    await rooms.snapshots.prepare("c", low)
    await rooms.snapshots.remove_layers([low])
    rooms.snapshots.revive([low])
    await rooms.snapshots.remove("c")
    assert rooms.snapshots.layer(low) is not None


async def test_the_next_start_finds_mounts_and_removes_what_has_no_owner(tmp_path: Path) -> None:
    root = tmp_path / "root"
    async with started(root) as before:
        base = await before.layer(file("f", b"x"))
        for key in ("runs", "stopped", "orphan"):
            await before.snapshots.prepare(key, base)
            await before.snapshots.mount(key)
        (before.content.new_ingest() / "half").touch()
        (root / "layers/half/diff").mkdir(parents=True)
        (root / "blobs/sha256/00").mkdir()
        (root / "blobs/sha256/00" / ("0" * 64)).touch()
        # no unmount, no remove: as if killed
    async with started(root) as after:
        await after.snapshots.reconcile({"runs", "stopped"}, {"runs"})
        assert sorted(os.listdir(root / "snapshots")) == ["runs", "stopped"]
        assert overlay.mount_points(root / "snapshots") == [root / "snapshots/runs/merged"]
        assert (await after.snapshots.mount("runs") / "f").read_bytes() == b"x"
        assert os.listdir(root / "ingest") == []
        assert len(os.listdir(root / "layers")) == 1
        assert len(after.content.digests()) == 1
        for key in ("runs", "stopped"):
            await after.snapshots.remove(key)
    assert overlay.mount_points(root) == []


async def test_a_layer_that_lost_its_directory_is_forgotten_with_those_above(tmp_path: Path) -> None:
    async with started(tmp_path / "root") as before:
        low = await before.layer(file("a"))
        top = await before.layer(file("b"), parent=low)
        row = before.snapshots.layer(low)
        assert row is not None
        (before.root / "layers" / row.directory).rename(tmp_path / "lost")
    async with started(tmp_path / "root") as after:
        assert after.snapshots.layer(low) is None
        assert after.snapshots.layer(top) is None


async def test_a_visitor_keeps_the_mount_until_it_goes(rooms: Rooms) -> None:
    await rooms.snapshots.prepare("c", await rooms.layer(file("f", b"1")))
    async with rooms.snapshots.visited("c") as merged:
        assert (merged / "f").read_bytes() == b"1"
        await rooms.snapshots.mount("c")
        await rooms.snapshots.unmount("c")
        assert (merged / "f").exists()
    assert not (merged / "f").exists()


async def test_a_visit_does_not_take_the_mount_of_who_stays(rooms: Rooms) -> None:
    await rooms.snapshots.prepare("c", await rooms.layer(file("f", b"1")))
    async with rooms.snapshots.visited("c"), rooms.snapshots.visited("c") as merged:
        await rooms.snapshots.mount("c")
    assert (merged / "f").exists()


async def test_a_layer_may_be_removed_under_its_visitors(rooms: Rooms) -> None:
    await rooms.snapshots.prepare("c", await rooms.layer(file("f", b"1")))
    async with rooms.snapshots.visited("c") as merged:
        await rooms.snapshots.remove("c")
        assert not merged.exists()


async def test_changes_and_the_export_of_a_layer(rooms: Rooms) -> None:
    low = await rooms.layer(directory("d"), file("d/f", b"1"), file("gone"))
    await rooms.snapshots.prepare("c", await rooms.layer(file("top"), parent=low))
    assert await rooms.snapshots.changes("c") == []
    async with rooms.snapshots.visited("c") as merged:
        (merged / "d/f").write_bytes(b"22")
        (merged / "gone").unlink()
        (merged / "new").write_bytes(b"")
    told = [(change.path, change.kind) for change in await rooms.snapshots.changes("c")]
    assert told == [(b"/d", 0), (b"/d/f", 0), (b"/gone", 2), (b"/new", 1)]
    data = b"".join([piece async for piece in rooms.snapshots.export("c")])
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        assert {"d/f", "new", "top", ".dockerenv"} <= set(found.getnames())
        assert "gone" not in found.getnames()


async def test_an_export_that_nobody_reads_to_the_end_leaves_nothing(rooms: Rooms) -> None:
    await rooms.snapshots.prepare("c", await rooms.layer(file("big", bytes(8 << 20))))
    async with aclosing(rooms.snapshots.export("c")) as pieces:
        await anext(pieces)
    assert overlay.mount_points(rooms.root) == []
