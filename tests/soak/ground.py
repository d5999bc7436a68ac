"""Where a soak takes place: an engine on a small disk of its own, and a registry."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.engine.test_faults import small_disk
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved
from tests.support.registry import Registry

DISK = "256m"
SWARM_DISK = "768m"
"""etcd takes 128 MB at once."""


@contextlib.contextmanager
def ground(disk: str = DISK) -> Iterator[tuple[Engine, Registry]]:
    """A running engine that has busybox, and a registry beside it that is empty."""
    engine = Engine()
    try:
        with small_disk(engine.data, disk):
            (storage := Path(engine.root) / "registry").mkdir()
            registry = Registry(engine.net, storage)
            try:
                engine.start()
                engine.docker("load", stdin=saved([BUSYBOX]))
                engine.docker(
                    "tag", BUSYBOX, f"{registry.name}/busybox"
                )  # under a name that is looked for nearby
                yield engine, registry
                if engine.process:
                    engine.clean()
                    engine.stop()
            finally:
                registry.close()
    finally:
        engine.close()
