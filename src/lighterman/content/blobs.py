"""Blobs on disk."""

from pathlib import Path

from lighterman.db import Database


class Content:
    """Blobs of one data root, by digest."""

    def __init__(self, root: Path, db: Database) -> None:
        raise NotImplementedError
