"""The corpus of hostile archives, by each way that an archive comes in: refused, and nothing stays."""

import gzip
import os
from collections.abc import Awaitable, Callable

import pytest
from tests.content.archives import archive
from tests.content.test_unpack import HOSTILE
from tests.images.shelf import Shelf, config, heard, saved, sent
from tests.registry.server import serving

from lighterman.apitypes.image import Progress
from lighterman.errdefs import EngineError
from lighterman.images import ImportWish


async def pulled(shelf: Shelf, layer: bytes) -> list[Progress]:
    with serving() as registry:
        registry.put(config(layer), [gzip.compress(layer, mtime=0)], "1")
        return await heard(await shelf.images.pull(f"{registry.host}/x", "1"))


async def loaded(shelf: Shelf, layer: bytes) -> list[Progress]:
    return await heard(shelf.images.load(sent(saved((config(layer), [layer], ["a:1"])))))


async def imported(shelf: Shelf, layer: bytes) -> list[Progress]:
    try:
        return await heard(await shelf.images.import_(sent(layer), ImportWish("a", "1")))
    except EngineError as error:
        return [Progress(error=str(error))]


@pytest.mark.parametrize("come", [pulled, loaded, imported])
async def test_a_hostile_archive_is_refused_and_nothing_stays(
    shelf: Shelf, come: Callable[[Shelf, bytes], Awaitable[list[Progress]]]
) -> None:
    root = shelf.rooms.root
    for name, members in HOSTILE.items():
        *_, last = await come(shelf, archive(*members))
        assert isinstance(last.error, str), name
        assert len(shelf.images) == 0
        assert shelf.rooms.content.digests() | set(shelf.rooms.snapshots.layer_ids()) == set()
        assert [os.listdir(root / part) for part in ("ingest", "layers")] == [[], []], name
