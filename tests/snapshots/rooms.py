"""The rooms below images, on a throw-away data root, and layers put there without a registry."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct
from tests.content.archives import Member, archive

from lighterman.content import Content, OpenFile, UnpackLayer, Workers
from lighterman.db import Database
from lighterman.snapshots import NewLayer, Snapshots


class Rooms(Struct):
    """One start of an engine's lower rooms."""

    root: Path
    db: Database
    content: Content
    workers: Workers
    snapshots: Snapshots

    async def layer(self, *members: Member, parent: str = "") -> str:
        """Publish a layer; its chain id."""
        upload = self.root.parent / "upload"
        upload.write_bytes(archive(*members))
        ingest = self.content.new_ingest()
        directory, file = os.open(ingest, os.O_RDONLY), os.open(upload, os.O_RDONLY)
        unpacked = await self.workers.run(UnpackLayer(OpenFile()), [directory, file])
        os.close(directory)
        os.close(file)
        below = f"{parent} {unpacked.diff_id}"
        chain_id = f"sha256:{hashlib.sha256(below.encode()).hexdigest()}" if parent else unpacked.diff_id
        await self.snapshots.publish([NewLayer(chain_id, parent, ingest, unpacked)])
        return chain_id


@asynccontextmanager
async def started(root: Path) -> AsyncIterator[Rooms]:
    """The rooms of a start on `root`; leaving the block is an orderly stop."""
    db = Database(root / "state.db")
    workers = Workers()
    content = Content(root)
    snapshots = Snapshots(content, db, workers)
    try:
        yield Rooms(root, db, content, workers, snapshots)
    finally:
        await snapshots.close()
        await workers.close()
        db.close()
