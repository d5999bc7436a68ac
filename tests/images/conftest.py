"""An empty shelf for each test."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.images.shelf import Shelf, opened


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    if os.geteuid() != 0:
        pytest.skip("unpacking needs root")
    async with opened(tmp_path / "root") as shelf:
        yield shelf
    assert os.listdir(tmp_path / "root/ingest") == []
