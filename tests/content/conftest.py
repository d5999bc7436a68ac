"""What the tests of content share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A directory to unpack into; whoever reaches its neighbour fails."""
    before = os.umask(0o022)
    place = tmp_path / "place"
    (place / "neighbour").mkdir(parents=True)
    (place / "neighbour" / "canary").write_text("sings")
    (place / "root").mkdir()
    yield place / "root"
    assert (place / "neighbour" / "canary").read_text() == "sings"
    assert sorted(os.listdir(place)) == ["neighbour", "root"]
    assert sorted(os.listdir(place / "neighbour")) == ["canary"]
    os.umask(before)
