"""Our engine and the reference, side by side, with the same image."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.differential.pair import Pair
from tests.support.engines import Engine, Reference
from tests.support.images import BUSYBOX, saved

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="containers need root"))


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    archive = tmp_path_factory.mktemp("images") / "busybox.tar"
    archive.write_bytes(saved([BUSYBOX]))
    ours, reference = Engine(), Reference()
    try:
        for engine in (ours, reference):
            engine.start()
            engine.docker("load", "-i", archive)
        yield Pair(ours, reference)
    finally:
        ours.close()
        reference.close()
