"""kill -9 before each single effect of a verb: the next start finds a whole store, and the verb works."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images.killed import LANES, LAYERS, VERBS
from tests.images.shelf import heard, opened, put
from tests.registry.secured import docker_registry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory: a process that is killed has lost nothing that it gave to the kernel."""
    with tempfile.TemporaryDirectory(prefix="lm-killed-", dir="/dev/shm") as path:
        yield Path(path)


@pytest.mark.parametrize("verb", VERBS)
async def test_killed_before_any_effect_the_store_is_whole(verb: str, memory: Path, registry: str) -> None:
    if verb == "pull":
        async with opened(memory / "seed") as shelf:
            await put(shelf, f"{registry}/killed:1", layers=LAYERS)
            await heard(await shelf.images.push(f"{registry}/killed:1"))
    killing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.images.killed", verb, str(memory), registry),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    told, _ = await killing.communicate()
    assert killing.returncode == 0
    looks = told.decode().splitlines()
    assert sum("at its end" in look for look in looks) == LANES, "in the end each verb works"
    assert len(looks) > 3 * LANES
    assert [look for look in looks if not look.endswith(": []")] == []
