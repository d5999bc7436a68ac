"""Volumes of plugins: what they have without our doing, and what they have no more."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from lighterman.apitypes.volume import VolumeCreateBody
from lighterman.content import Workers
from lighterman.db import Database
from lighterman.errdefs import Conflict, NotFound
from lighterman.events import Events
from lighterman.lib.filters import Filters
from lighterman.plugins.errors import DriverRefused, NoAnswer
from lighterman.plugins.interfaces import DriverVolume
from lighterman.volumes import Volumes
from lighterman.volumes.errors import MountFailed, NoSuchVolume, StaleVolume

USED: dict[str, list[str]] = {}


class Driver:
    """A plugin with volumes of its own."""

    def __init__(self) -> None:
        self.volumes: dict[str, DriverVolume] = {}
        self.asked: list[str] = []
        self.mounting: Exception | None = None
        self.getting: Exception | None = None

    async def create(self, name: str, options: Mapping[str, str]) -> None:
        self.volumes[name] = DriverVolume(name)

    async def remove(self, name: str) -> None:
        del self.volumes[name]

    async def mount(self, name: str, user: str) -> str:
        self.asked.append(f"mount {name}")
        if self.mounting:
            raise self.mounting
        return "/there"

    async def unmount(self, name: str, user: str) -> None:
        self.asked.append(f"unmount {name}")

    async def path(self, name: str) -> str:
        return ""

    async def get(self, name: str) -> DriverVolume | None:
        if self.getting:
            raise self.getting
        if name not in self.volumes:
            raise DriverRefused("no such volume")
        return self.volumes[name]

    async def list(self) -> Sequence[DriverVolume]:
        return list(self.volumes.values())

    async def scope(self) -> str:
        self.asked.append("scope")
        return "global"


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
async def volumes(tmp_path: Path, driver: Driver) -> AsyncIterator[Volumes]:
    async def find(name: str) -> Driver:
        if name != "far":
            raise NotFound(name)
        return driver

    async def names() -> Sequence[str]:
        return ["far"]

    USED.clear()
    workers, db = Workers(), Database(tmp_path / "state.db")
    yield await Volumes.open(
        root=tmp_path / "volumes",
        db=db,
        events=Events(db),
        users=lambda name: USED.get(name, []),
        workers=workers,
        driver=find,
        driver_names=names,
    )
    await workers.close()
    db.close()


async def test_what_a_plugin_has_is_listed_used_and_removed(volumes: Volumes, driver: Driver) -> None:
    driver.volumes["data"] = DriverVolume("data", "/there", "2026-01-01T00:00:00Z", {"hello": "world"})
    await volumes.create(VolumeCreateBody("ours"))
    (data, ours) = (await volumes.list(Filters())).volumes
    assert (data.name, data.driver, data.scope, data.created_at) == (
        "data",
        "far",
        "global",
        "2026-01-01T00:00:00Z",
    )
    assert ours.driver == "local"
    assert (await volumes.inspect("data")).status == {"hello": "world"}
    assert (await volumes.create(VolumeCreateBody("data"))).driver == "far"
    assert volumes.find("data").driver == "far"
    await volumes.remove("data")
    assert driver.volumes == {}


async def test_a_plugins_volume_can_be_removed_without_a_row(volumes: Volumes, driver: Driver) -> None:
    driver.volumes["data"] = DriverVolume("data")
    await volumes.remove("data")
    assert driver.volumes == {}
    with pytest.raises(NoSuchVolume):
        await volumes.remove("data")
    with pytest.raises(NoSuchVolume):
        await volumes.inspect("data")


async def test_a_driver_says_once_what_its_scope_is(volumes: Volumes, driver: Driver) -> None:
    for name in ("one", "two"):
        await volumes.create(VolumeCreateBody(name, "far"))
        assert volumes.find(name).scope == "global"
    assert driver.asked == ["scope"]


async def test_what_a_plugin_has_no_more_is_made_anew_by_whoever_wants_it(
    volumes: Volumes, driver: Driver
) -> None:
    await volumes.create(VolumeCreateBody("data", "far"))
    with pytest.raises(Conflict, match="must be unique"):
        await volumes.create(VolumeCreateBody("data", "local"))
    driver.volumes.clear()
    with pytest.raises(NoSuchVolume):
        await volumes.inspect("data")
    await volumes.create(VolumeCreateBody("data", "far", driver_opts={"a": "b"}))
    assert volumes.find("data").options == {"a": "b"}
    driver.volumes.clear()
    USED["data"] = ["c1"]
    with pytest.raises(StaleVolume, match="but the volume was not found in the driver"):
        await volumes.create(VolumeCreateBody("data", "local"))
    USED.clear()
    driver.getting = NoAnswer("it sleeps")
    with pytest.raises(StaleVolume, match="got an error while checking the driver: get data: it sleeps"):
        await volumes.create(VolumeCreateBody("data", "local"))
    driver.getting = None
    assert (await volumes.create(VolumeCreateBody("data", "local"))).driver == "local"


@pytest.mark.parametrize(
    ("error", "asked"),
    [(DriverRefused("no"), []), (NoAnswer("it sleeps"), ["unmount data"])],
)
async def test_what_was_refused_is_not_unmounted(
    volumes: Volumes, driver: Driver, error: Exception, asked: list[str]
) -> None:
    await volumes.create(VolumeCreateBody("data", "far"))
    driver.mounting = error
    driver.asked.clear()
    with pytest.raises(MountFailed):
        await volumes.mount("data", "c1", destination="/d")
    await volumes.unmount("data", "c1")
    assert driver.asked == ["mount data", *asked]
