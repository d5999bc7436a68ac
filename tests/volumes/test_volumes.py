"""Volumes: names, directories, who holds them."""

import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from lighterman.apitypes.event import Event
from lighterman.apitypes.volume import VolumeCreateBody
from lighterman.content import Workers
from lighterman.db import Database, Rows
from lighterman.errdefs import Conflict, EngineError, InvalidParameter, NotFound, System
from lighterman.events import Events
from lighterman.lib.filters import Filters
from lighterman.volumes import Volumes, directories, trash
from lighterman.volumes.volume import VolumeRow

USED: dict[str, list[str]] = {"used": ["4f0c" * 16]}


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "state.db")


@pytest.fixture
async def volumes(tmp_path: Path, db: Database) -> AsyncIterator[Volumes]:
    workers = Workers()
    yield await opened(tmp_path, db, workers)
    await workers.close()
    db.close()


async def no_names() -> list[str]:
    return []


async def no_driver(name: str) -> NoReturn:
    raise NotFound(f'plugin "{name}" not found')


async def opened(root: Path, db: Database, workers: Workers | None = None) -> Volumes:
    return await Volumes.open(
        root=root / "volumes",
        db=db,
        events=Events(db),
        users=lambda name: USED.get(name, []),
        workers=workers or Workers(),
        driver=no_driver,
        driver_names=no_names,
    )


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (
            VolumeCreateBody("a/b"),
            InvalidParameter,
            'create a/b: "a/b" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path",
        ),
        (
            VolumeCreateBody("v1", "nope"),
            NotFound,
            'create v1: error looking up volume plugin nope: plugin "nope" not found',
        ),
        (
            VolumeCreateBody("v1", driver_opts={"foo": "bar"}),
            InvalidParameter,
            'create v1: invalid option: "foo"',
        ),
        (
            VolumeCreateBody("v1", driver_opts={"type": "tmpfs"}),
            InvalidParameter,
            'create v1: missing required option: "device"',
        ),
        (
            VolumeCreateBody("v1", driver_opts={"size": "1g"}),
            InvalidParameter,
            "create v1: quota size requested but no quota support",
        ),
        (
            VolumeCreateBody("v"),
            InvalidParameter,
            "create v: volume name is too short, names should be at least two alphanumeric characters",
        ),
    ],
)
async def test_what_cannot_be_is_refused_in_dockers_words(
    volumes: Volumes, body: VolumeCreateBody, kind: type[EngineError], text: str
) -> None:
    with pytest.raises(kind) as refused:
        await volumes.create(body)
    assert str(refused.value) == text
    assert (await volumes.list(Filters())).volumes == []


async def test_a_volume_outlives_the_engine(volumes: Volumes, tmp_path: Path, db: Database) -> None:
    made = await volumes.create(VolumeCreateBody("ref_v", labels={"a": "b"}))
    assert made.mountpoint == str(tmp_path / "volumes/ref_v/_data")
    assert (made.options, made.labels) == (None, {"a": "b"})
    (volumes.path("ref_v") / "file").write_text("kept")
    again = await opened(tmp_path, db)
    await again.reconcile([])
    assert await again.inspect("ref_v") == made
    assert not await again.is_empty("ref_v")


async def test_a_second_create_answers_the_first_volume(volumes: Volumes) -> None:
    first = await volumes.create(VolumeCreateBody("ref_v", labels={"a": "b"}))
    assert await volumes.create(VolumeCreateBody("ref_v")) == first


async def test_without_a_name_it_gets_64_digits(volumes: Volumes) -> None:
    made = await volumes.create(VolumeCreateBody())
    assert len(made.name) == 64
    assert made.labels is None


async def test_a_volume_in_use_stays(volumes: Volumes) -> None:
    await volumes.create(VolumeCreateBody("used"))
    with pytest.raises(Conflict, match=r"remove used: volume is in use - \[(4f0c){16}\]"):
        await volumes.remove("used")
    await volumes.create(VolumeCreateBody("held"))
    await volumes.mount("held", "c1", destination="/d")
    with pytest.raises(Conflict, match=r"remove held: volume is in use - \[c1\]"):
        await volumes.remove("held", force=True)
    await volumes.unmount("held", "c1")
    await volumes.unmount("held", "c1")
    await volumes.remove("held")


async def test_who_uses_a_volume_is_told(volumes: Volumes, db: Database) -> None:
    await volumes.create(VolumeCreateBody("ref_v"))
    await volumes.mount("ref_v", "c1")  # the engine itself: to copy files up
    await volumes.unmount("ref_v", "c1")
    await volumes.mount("ref_v", "c1", destination="/d", writable=False)
    await volumes.unmount("ref_v", "c1")
    await volumes.unmount("ref_v", "c1")
    await volumes.remove("ref_v")
    await db.write()  # all before it is written
    told = [(event.action, event.actor.attributes) for event in Rows("events", Event).load(db).values()]
    assert told == [
        ("create", {"driver": "local"}),
        (
            "mount",
            {
                "container": "c1",
                "destination": "/d",
                "driver": "local",
                "propagation": "",
                "read/write": "false",
            },
        ),
        ("unmount", {"container": "c1", "driver": "local"}),
        ("destroy", {"driver": "local"}),
    ]


async def test_removal_takes_the_files_and_force_is_content_without(volumes: Volumes, tmp_path: Path) -> None:
    await volumes.create(VolumeCreateBody("ref_v"))
    (volumes.path("ref_v") / "file").write_text("gone")
    await volumes.remove("ref_v")
    assert os.listdir(tmp_path / "volumes") == []
    await volumes.remove("ref_v", force=True)
    with pytest.raises(NotFound, match="get ref_v: no such volume"):
        await volumes.remove("ref_v")


async def test_prune_takes_what_nobody_uses(volumes: Volumes) -> None:
    for name in ("used", "free", "spared"):
        await volumes.create(VolumeCreateBody(name, labels={"keep": "1"} if name == "spared" else None))
    (volumes.path("free") / "file").write_bytes(bytes(1000))
    pruned = await volumes.prune(Filters({"label!": ("keep",)}))
    assert (pruned.volumes_deleted, pruned.space_reclaimed) == (["free"], 1000)
    assert (await volumes.prune(Filters(), anonymous_only=True)).volumes_deleted == []


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"dangling": ("true",)}, ["free"]),
        ({"dangling": ("0",)}, ["used"]),
        ({"name": ("re",)}, ["free"]),
        ({"label": ("a=b",)}, ["used"]),
        ({"driver": ("other",)}, []),
    ],
)
async def test_the_list_is_filtered(
    volumes: Volumes, filters: dict[str, tuple[str, ...]], names: list[str]
) -> None:
    await volumes.create(VolumeCreateBody("used", labels={"a": "b"}))
    await volumes.create(VolumeCreateBody("free"))
    assert [volume.name for volume in (await volumes.list(Filters(filters))).volumes] == names
    with pytest.raises(InvalidParameter, match="Invalid filter 'foo'"):
        await volumes.list(Filters({"foo": ("x",)}))


async def test_a_filter_is_read_even_where_there_is_nothing(volumes: Volumes) -> None:
    with pytest.raises(InvalidParameter, match=r"Invalid filter 'dangling=\[invalid\]'"):
        await volumes.list(Filters({"dangling": ("invalid",)}))


async def test_a_directory_that_vanished_is_told(volumes: Volumes) -> None:
    await volumes.create(VolumeCreateBody("ref_v"))
    volumes.path("ref_v").rmdir()
    assert (await volumes.list(Filters())).warnings == [
        f"volume ref_v: its directory {volumes.path('ref_v')} is gone"
    ]
    with pytest.raises(System, match="no such file or directory"):
        await volumes.mount("ref_v", "c1", destination="/d")
    await volumes.remove("ref_v")


async def test_a_start_finishes_what_a_kill_cut_short(volumes: Volumes, tmp_path: Path, db: Database) -> None:
    await volumes.create(VolumeCreateBody("half"))
    root = tmp_path / "volumes"
    (root / "half").rename(root / ".removed-half")  # killed between the rename and the row
    (root / "unborn/_data").mkdir(parents=True)  # killed between the directory and the row
    (root / "found/_data/file").mkdir(parents=True)
    again = await opened(tmp_path, db)
    await again.reconcile([])
    assert [volume.name for volume in (await again.list(Filters())).volumes] == ["found"]
    assert os.listdir(root) == ["found"]


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
async def test_options_are_mounted_while_somebody_holds_the_volume(volumes: Volumes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("seen")
    wish = {"type": "none", "o": "bind,ro", "device": str(source)}
    await volumes.create(VolumeCreateBody("bound", driver_opts=wish))
    first = await volumes.mount("bound", "c1", destination="/d")
    await volumes.mount("bound", "c2", destination="/d")
    await volumes.unmount("bound", "c1")
    assert (first / "file").read_text() == "seen"
    with pytest.raises(OSError, match="Read-only"):
        (first / "new").write_text("")
    await volumes.unmount("bound", "c2")
    assert await volumes.is_empty("bound")
    await volumes.remove("bound")
    assert (source / "file").exists()


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
async def test_nothing_stays_in_memory_of_a_volume_that_is_gone(volumes: Volumes) -> None:
    def kept() -> list[str]:
        return [key for each in vars(volumes).values() if isinstance(each, Mapping) for key in each]

    before = kept()
    for name in ("one", "two"):
        await volumes.create(VolumeCreateBody(name))
        await volumes.mount(name, "c1", destination="/d")
        await volumes.unmount(name, "c1")
        await volumes.remove(name)
    assert kept() == before


async def test_a_mount_that_fails_is_told_as_docker_does(volumes: Volumes) -> None:
    wish = {"type": "none", "o": "bind", "device": "/nonexistent"}
    await volumes.create(VolumeCreateBody("lost", driver_opts=wish))
    with pytest.raises(
        System, match=r"failed to mount local volume: mount /nonexistent:.*: no such file or dir"
    ):
        await volumes.mount("lost", "c1", destination="/d")
    await volumes.remove("lost")


async def test_a_dry_run_of_a_prune_tells_and_removes_nothing(volumes: Volumes) -> None:
    await volumes.create(VolumeCreateBody("data"))
    (volumes.path("data") / "f").write_text("12345")
    told = await volumes.prune(Filters(), dry_run=True)
    assert (told.volumes_deleted, told.space_reclaimed) == (["data"], 5)
    assert (volumes.path("data") / "f").exists()


async def test_a_pruned_volume_comes_back_from_the_trash_as_it_was(volumes: Volumes) -> None:
    volumes.trash_s = 60
    made = await volumes.create(VolumeCreateBody("data", labels={"a": "b"}))
    (volumes.path("data") / "f").write_text("12345")
    told = await volumes.prune(Filters())
    assert (told.volumes_deleted, told.space_reclaimed) == (["data"], 0)
    assert (await volumes.list(Filters())).volumes == []
    await volumes.create(VolumeCreateBody("data"))
    with pytest.raises(Conflict, match="a volume named data exists"):
        await volumes.bring_back("data")
    await volumes.remove("data")
    assert await volumes.bring_back("data") == made
    assert (volumes.path("data") / "f").read_text() == "12345"
    assert os.listdir(volumes.path("data").parent) == ["_data"]
    with pytest.raises(NotFound, match="no such volume"):
        await volumes.bring_back("nope")


async def test_the_trash_survives_a_start_until_its_time_is_over(
    volumes: Volumes, tmp_path: Path, db: Database
) -> None:
    volumes.trash_s = 60
    for name in ("one", "two"):
        await volumes.create(VolumeCreateBody(name, labels={"is": name}))
    await volumes.prune(Filters())
    again = await opened(tmp_path, db)
    again.trash_s = 60
    await again.reconcile([])
    assert (await again.bring_back("one")).labels == {"is": "one"}
    last = await opened(tmp_path, db)
    trash.empty(tmp_path / "volumes", time.time() + 1)
    await last.reconcile([])
    assert [volume.name for volume in (await last.list(Filters())).volumes] == ["one"]
    assert os.listdir(tmp_path / "volumes") == ["one"]


@pytest.mark.parametrize("moment", ["on its way there", "on its way back"])
async def test_a_kill_on_the_way_to_the_trash_or_back_loses_nothing(
    volumes: Volumes, tmp_path: Path, db: Database, moment: str
) -> None:
    root = tmp_path / "volumes"
    await volumes.create(VolumeCreateBody("data", labels={"a": "b"}))
    row = msgspec.msgpack.encode(volumes.find("data"))
    trash.throw(root, "data", row, int(time.time()))
    if moment == "on its way back":
        await db.write(Rows("volumes", VolumeRow).delete("data"))
        trash.bring_back(root, "data")
    again = await opened(tmp_path, db)
    again.trash_s = 60
    await again.reconcile([])
    if moment == "on its way there":
        assert (await again.list(Filters())).volumes == []
        await again.bring_back("data")
    assert (await again.inspect("data")).labels == {"a": "b"}


async def test_a_visit_leaves_the_holders_as_they_were(volumes: Volumes) -> None:
    await volumes.create(VolumeCreateBody("data"))
    await volumes.mount("data", "c", destination="/data")
    async with volumes.visited("data", "c", destination="/data", writable=False) as path:
        assert path.is_dir()
        with pytest.raises(Conflict, match=r"in use - \[c\]"):
            await volumes.remove("data")
    with pytest.raises(Conflict, match=r"in use - \[c\]"):
        await volumes.remove("data")
    await volumes.unmount("data", "c")
    await volumes.remove("data")


async def test_a_volume_of_another_engine_appears_whole_or_not_at_all(
    volumes: Volumes, tmp_path: Path, db: Database
) -> None:
    row = VolumeRow("other", 7, labels={"a": "b"})

    def failing(data: Path) -> None:
        data.mkdir()
        (data / "half").touch()
        raise System("no space left on device")

    with pytest.raises(System, match="no space"):
        await volumes.adopt(row, failing)
    assert os.listdir(tmp_path / "volumes") == []
    assert await volumes.adopt(row, Path.mkdir)
    assert not await volumes.adopt(row, failing)
    assert (await volumes.inspect("other")).labels == {"a": "b"}
    assert os.listdir(tmp_path / "volumes/other") == ["_data"]
    again = await opened(tmp_path, db)
    await again.reconcile([])
    assert again.find("other") == row


async def test_a_kill_while_a_volume_is_taken_over_leaves_it_whole_or_nothing(
    volumes: Volumes, tmp_path: Path
) -> None:
    root, row = tmp_path / "volumes", VolumeRow("other", 7, labels={"a": "b"})
    (directories.begin(root, "half") / "_data").mkdir()
    (directories.begin(root, "other") / "_data").mkdir()
    directories.finish(root, "other", msgspec.msgpack.encode(row))  # and the engine's book was not written
    await volumes.reconcile([])
    assert os.listdir(root) == ["other"]
    assert volumes.find("other") == row
