"""One engine for the tests of this folder that need one."""

import os
from collections.abc import Iterator

import pytest
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with busybox."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    engine = Engine()
    try:
        engine.start()
        archive = tmp_path_factory.mktemp("image") / "busybox.tar"
        archive.write_bytes(saved([BUSYBOX]))
        engine.docker("load", "-i", archive)
        yield engine
    finally:
        engine.close()
