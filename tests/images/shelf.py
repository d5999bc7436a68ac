"""A room of images on a throw-away data root, and archives to fill it with."""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from tests.content.archives import archive, file
from tests.snapshots.rooms import Rooms, started

from lighterman.apitypes.event import Event
from lighterman.apitypes.image import Progress
from lighterman.events import Events
from lighterman.images import Images, ImageUser
from lighterman.lib.filters import Filters
from lighterman.registry import Registry

CREATED = "2026-01-0{}T00:00:00Z"


class Shelf(Struct):
    """Images, their events and their users."""

    rooms: Rooms
    images: Images
    events: Events
    users: dict[str, list[ImageUser]] = field(default_factory=dict)

    def told(self) -> list[tuple[str, str, dict[str, str]]]:
        """Action, id and attributes of all events so far."""
        kept: Sequence[Event] = self.events._kept
        return [(event.action, event.actor.id, event.actor.attributes) for event in kept]


@asynccontextmanager
async def opened(root: Path, *, registry: Registry | None = None) -> AsyncIterator[Shelf]:
    """One start of an engine as far as images go."""
    async with started(root) as rooms:
        users: dict[str, list[ImageUser]] = {}
        events = Events(rooms.db)
        images = await Images.open(
            db=rooms.db,
            events=events,
            content=rooms.content,
            snapshots=rooms.snapshots,
            workers=rooms.workers,
            registry=registry or Registry(),
            users=lambda image_id: users.get(image_id, []),
        )
        await rooms.snapshots.reconcile(set())
        yield Shelf(rooms, images, events, users)


async def sent(data: bytes, *, size: int = 4096) -> AsyncIterator[bytes]:
    """A body as it comes from a connection."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def heard(stream: AsyncIterator[Progress]) -> list[Progress]:
    """All messages of a stream."""
    return [message async for message in stream]


def said(messages: Sequence[Progress]) -> str:
    """What a load tells a person."""
    return "".join(message.stream for message in messages if isinstance(message.stream, str))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(*layers: bytes, day: int = 1, **more: Any) -> bytes:
    """An image's configuration over uncompressed layers."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED.format(day),
        "config": {"Cmd": ["sh"], **more},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [{"created": CREATED.format(day), "created_by": f"step {n}"} for n in range(len(layers))],
    }
    return json.dumps(document).encode()


def saved(*images: tuple[bytes, Sequence[bytes], Sequence[str]]) -> bytes:
    """What `docker save` makes of images, each a configuration, its layers and its tags."""
    members = []
    manifest = []
    for raw, layers, tags in images:
        names = [f"{digest(layer)[7:]}/layer.tar" for layer in layers]
        members += [file(name, layer) for name, layer in zip(names, layers, strict=True)]
        members.append(file(f"{digest(raw)[7:]}.json", raw))
        manifest.append({"Config": f"{digest(raw)[7:]}.json", "RepoTags": list(tags), "Layers": names})
    return archive(*members, file("manifest.json", json.dumps(manifest).encode()))


def layer(name: str, data: bytes = b"") -> bytes:
    """The tar of a layer with one file."""
    return archive(file(name, data))


async def put(shelf: Shelf, *tags: str, day: int = 1, layers: Sequence[bytes] = (), **more: Any) -> str:
    """Load an image; its id."""
    chosen = list(layers) or [layer("f", str(day).encode())]
    raw = config(*chosen, day=day, **more)
    messages = await heard(shelf.images.load(sent(saved((raw, chosen, tags)))))
    assert not isinstance(messages[-1].error, str), messages[-1].error
    return digest(raw)


def ids(shelf: Shelf, **filters: str) -> list[str]:
    """The ids that a list with these filters shows."""
    wanted = Filters({name: (value,) for name, value in filters.items()})
    return [summary.id for summary in shelf.images.list(wanted)]
