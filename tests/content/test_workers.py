"""Worker processes: they answer, they can be stopped, and none is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.content.archives import archive, directory, file

from lighterman.content import (
    Content,
    CountUsage,
    EmptyDirectory,
    JobFailed,
    OpenFile,
    SpoolArchive,
    Step,
    UnpackLayer,
    Workers,
    spooled_name,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking needs root")


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    workers = Workers()
    yield workers
    await workers.close()


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    path = Content(tmp_path).new_ingest()
    fd = os.open(path, os.O_RDONLY)
    yield path, fd
    os.close(fd)


def spilled(tmp_path: Path, data: bytes) -> int:
    """An open file with this content."""
    path = tmp_path / "upload"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def children(name: str) -> set[int]:
    """Our processes with this name: a helper is a child of this one, a worker of a helper."""
    found: dict[int, tuple[str, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, rest = path.read_text().rpartition(")")
            found[int(path.parent.name)] = (head.partition("(")[2], int(rest.split()[1]))
    ours = {os.getpid()} | {pid for pid, (_, parent) in found.items() if parent == os.getpid()}
    return {pid for pid, (called, parent) in found.items() if called == name and parent in ours}


async def gone(pid: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, ended.set)
    await asyncio.wait_for(ended.wait(), 10)
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)


async def test_a_layer_is_kept_hashed_and_unpacked(
    workers: Workers, ingest: tuple[Path, int], tmp_path: Path
) -> None:
    steps: list[Step] = []
    upload = spilled(tmp_path, archive(directory("d"), file("d/f", b"data")))
    layer = await workers.run(UnpackLayer(OpenFile()), [ingest[1], upload], steps.append)
    os.close(upload)
    assert (ingest[0] / "diff/d/f").read_bytes() == b"data"
    assert layer.blob_bytes == (ingest[0] / "blob").stat().st_size
    assert layer.size_bytes == 4
    assert steps[-1].current == layer.blob_bytes


async def test_what_failed_is_told_by_its_kind(
    workers: Workers, ingest: tuple[Path, int], tmp_path: Path
) -> None:
    upload = spilled(tmp_path, b"no archive" * 100)
    with pytest.raises(JobFailed) as failed:
        await workers.run(UnpackLayer(OpenFile()), [ingest[1], upload])
    os.close(upload)
    assert (failed.value.kind, str(failed.value)) == ("damaged", "invalid tar header")


NOTHING = "sha256:" + "0" * 64


@pytest.mark.parametrize("job", [UnpackLayer(OpenFile(), NOTHING), UnpackLayer(OpenFile(), diff_id=NOTHING)])
async def test_wrong_bytes_are_no_layer(
    workers: Workers, ingest: tuple[Path, int], tmp_path: Path, job: UnpackLayer
) -> None:
    upload = spilled(tmp_path, archive(file("f")))
    with pytest.raises(JobFailed) as failed:
        await workers.run(job, [ingest[1], upload])
    os.close(upload)
    assert failed.value.kind == "mismatch"


async def test_who_is_cancelled_leaves_no_process(workers: Workers, ingest: tuple[Path, int]) -> None:
    before = children("lm-worker")
    begun = asyncio.Event()
    readable, writable = os.pipe()  # nothing ever comes: the worker waits
    os.write(writable, b"x" * 10)
    job = UnpackLayer(OpenFile())
    task = asyncio.create_task(workers.run(job, [ingest[1], readable], lambda step: begun.set()))
    await asyncio.wait_for(begun.wait(), 10)
    working = children("lm-worker") - before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert working
    for pid in working:
        await gone(pid)
    os.close(readable)
    os.close(writable)


async def test_a_killed_worker_is_a_failed_job(workers: Workers, ingest: tuple[Path, int]) -> None:
    before = children("lm-worker")
    readable, writable = os.pipe()
    os.write(writable, b"x")

    def kill(step: Step) -> None:
        for pid in children("lm-worker") - before:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(JobFailed, match="was killed"):
        await workers.run(UnpackLayer(OpenFile()), [ingest[1], readable], kill)
    os.close(readable)
    os.close(writable)


async def test_a_helper_that_rests_is_started_again(ingest: tuple[Path, int]) -> None:
    before = children("lm-helper")
    workers = Workers(idle_s=0.05)
    await workers.run(CountUsage(), [ingest[1]])
    for pid in children("lm-helper") - before:
        await gone(pid)
    assert (await workers.run(CountUsage(), [ingest[1]])).size_bytes == 0
    await workers.close()


async def test_a_helper_that_cannot_be_started_is_told(
    ingest: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    workers = Workers()
    with pytest.raises(JobFailed, match="the worker processes cannot be started"):
        await workers.run(CountUsage(), [ingest[1]])
    await workers.close()


async def test_jobs_run_side_by_side(workers: Workers, ingest: tuple[Path, int]) -> None:
    answers = await asyncio.gather(*(workers.run(CountUsage(), [ingest[1]]) for _ in range(20)))
    assert len(answers) == 20


async def test_usage_counts_bytes_once_and_follows_no_link(
    workers: Workers, ingest: tuple[Path, int]
) -> None:
    (ingest[0] / "d").mkdir()
    (ingest[0] / "d/f").write_bytes(b"12345")
    os.link(ingest[0] / "d/f", ingest[0] / "d/g")
    os.symlink("/etc/passwd", ingest[0] / "l")
    assert (await workers.run(CountUsage(), [ingest[1]])).size_bytes == 5 + len("/etc/passwd")


async def test_emptying_follows_no_link(workers: Workers, ingest: tuple[Path, int], tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("sings")
    (ingest[0] / "d").mkdir()
    os.symlink(tmp_path, ingest[0] / "d/l")
    os.symlink(tmp_path, ingest[0] / "l")
    await workers.run(EmptyDirectory(), [ingest[1]])
    assert os.listdir(ingest[0]) == []
    assert (tmp_path / "canary").exists()


async def test_a_spooled_archive_lies_flat(
    workers: Workers, ingest: tuple[Path, int], tmp_path: Path
) -> None:
    upload = spilled(tmp_path, archive(file("a/layer.tar", b"x"), file("manifest.json", b"[]")))
    spooled = await workers.run(SpoolArchive(), [ingest[1], upload])
    os.close(upload)
    assert spooled.files == 2
    assert (ingest[0] / spooled_name("a/layer.tar")).read_bytes() == b"x"
