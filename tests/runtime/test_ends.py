"""Ends: exit codes, signals, pauses, and what is left."""

import signal

import pytest
from tests.runtime.bench import ALL, Bench, Peer

from lighterman.runtime import ProcessGone

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
async def test_an_exit_code_is_told_as_it_was(bench: Bench, code: int) -> None:
    _, running = await bench.run("sh", "-c", f"exit {code}")
    end = await bench.exit()
    assert (end.code, end.oom_killed, end.error) == (code, False, "")
    assert running.started_ns <= end.at_ns


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGRTMIN])
async def test_a_signal_ends_as_128_and_its_number(bench: Bench, number: int) -> None:
    trap = f"trap 'trap - {number}; exit {128 + number}' {number}; " if number != signal.SIGKILL else ""
    peer = Peer()
    script = f"{trap}echo up; while true; do sleep 0.05; done"
    id, _ = await bench.run("sh", "-c", script, attached=[(peer.client, ALL)])
    assert await peer.read() == b"up\n"  # before its trap is set, an init hears no signal
    bench.runtime.signal(id, number)
    assert (await bench.exit()).code == 128 + number


async def test_a_paused_container_stands_still_and_can_be_killed(bench: Bench) -> None:
    id, running = await bench.run("sleep", "60")
    await bench.runtime.pause(id)
    assert bench.runtime.cgroup(id).frozen()
    await bench.runtime.unpause(id)
    assert not bench.runtime.cgroup(id).frozen()
    assert bench.runtime.pids(id) == [running.pid]
    bench.runtime.signal(id, signal.SIGKILL)
    assert (await bench.exit()).code == 137


async def test_delete_ends_what_runs_and_tells_nobody(bench: Bench) -> None:
    id, _ = await bench.run("sleep", "60")
    cgroup = bench.runtime.cgroup(id)
    await bench.runtime.delete(id)
    assert not cgroup.exists()
    assert not (bench.exec_root / "c" / id).exists()
    assert bench.exits.empty()
    with pytest.raises(ProcessGone):
        bench.runtime.pids(id)


async def test_delete_ends_what_stands_still_too(bench: Bench) -> None:
    id, _ = await bench.run("sleep", "60")
    await bench.runtime.pause(id)
    await bench.runtime.delete(id)
    assert not (bench.exec_root / "c" / id).exists()


async def test_a_process_that_wants_too_much_memory_is_told_as_such(bench: Bench) -> None:
    bench.memory_bytes = 8 << 20
    await bench.run("sh", "-c", "x=y; while true; do x=$x$x; done")
    end = await bench.exit()
    assert (end.code, end.oom_killed) == (137, True)


async def test_the_log_is_rotated_under_docker_s_names_without_a_line_lost(bench: Bench) -> None:
    id, _ = await bench.run("seq", "1", "5000", max_size_bytes=100_000, max_files=9)
    await bench.exit()
    files = sorted(bench.tmp.glob(f"{id}-json.log*"))
    assert [file.name.removeprefix(bench.log(id).name) for file in files] == ["", ".1", ".2", ".3"]
    assert all(100_000 <= file.stat().st_size < 100_200 for file in files[1:])
    texts = [file.read_bytes() for file in [*reversed(files[1:]), files[0]]]
    lines = [line for text in texts for line in text.splitlines()]
    assert len(lines) == 5000
    assert b'"log":"1\\n"' in lines[0]
    assert b'"log":"5000\\n"' in lines[-1]


async def test_the_oldest_logs_go(bench: Bench) -> None:
    id, _ = await bench.run("seq", "1", "5000", max_size_bytes=50_000, max_files=2)
    await bench.exit()
    assert sorted(file.name[len(id) :] for file in bench.tmp.glob(f"{id}*")) == ["-json.log", "-json.log.1"]
    assert bench.text(id).endswith("5000\n")
