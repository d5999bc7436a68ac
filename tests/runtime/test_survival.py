"""What outlives whom: a daemon that dies, a monitor that dies, both."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.runtime.bench import ALL, Bench, Peer, process

from lighterman.linux import mount
from lighterman.oci import spec as oci
from lighterman.runtime import Exit, Lost, ProcessIO, Running
from lighterman.runtime.exec_root import read_state

pytestmark = pytest.mark.engine
LINES = 40_000
COUNT = f"i=0; while [ $i -lt {LINES} ]; do echo $i; i=$((i+1)); done; exit 7"
DAEMON = """
import asyncio, sys
from pathlib import Path
from tests.runtime.bench import Bench
async def main():
    bench = Bench(Path(sys.argv[1]), Path(sys.argv[2]), cgroup_parent=sys.argv[4])
    await bench.open()
    id, _ = await bench.run("sh", "-c", sys.argv[3])
    print(id, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def run_and_kill_daemon(bench: Bench, script: str) -> str:
    """The id of a container whose daemon was killed, with its zygote, right after the start."""
    await bench.runtime.close()
    daemon = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DAEMON, str(bench.tmp), str(bench.root), script, bench.cgroup_parent),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert daemon.stdout is not None
    id = (await daemon.stdout.readline()).decode().strip()
    bench.ids.append(id)
    daemon.kill()
    await daemon.wait()
    return id


def monitor_pid(bench: Bench, id: str) -> int:
    state = read_state(bench.exec_root / "c" / id)
    assert state is not None
    return state.number("monitor")


async def test_a_daemon_killed_in_mid_output_costs_no_line_and_no_exit_code(bench: Bench) -> None:
    id = await run_and_kill_daemon(bench, COUNT)
    await bench.open()
    (found,) = await bench.runtime.recover()
    end = found.state if isinstance(found.state, Exit) else await bench.exit()
    assert (found.id, found.exec_id, end.code) == (id, None, 7)
    assert [line.log for line in bench.logged(id)] == [f"{number}\n" for number in range(LINES)]


async def test_a_new_daemon_finds_the_old_process_and_its_streams(bench: Bench) -> None:
    id = await run_and_kill_daemon(bench, "while true; do echo tick; sleep 0.01; done")
    await bench.open()
    (found,) = await bench.runtime.recover()
    assert isinstance(found.state, Running)
    assert bench.runtime.pids(id)[0] == found.state.pid
    peer = Peer()
    await bench.runtime.attach(id, peer.client, ALL)
    assert await peer.read() == b"tick\n"
    bench.runtime.signal(id, signal.SIGKILL)
    assert (await bench.exit()).code == 137


async def test_a_daemon_that_stops_in_order_leaves_processes_and_execs_running(bench: Bench) -> None:
    id, running = await bench.run("sleep", "60")
    io = ProcessIO(tty=False, stdin=False, stdin_once=False, log=None, size=None)
    await bench.runtime.exec(id, "e", oci.encode(process(["sleep", "60"])), io)
    await bench.runtime.close()
    await bench.open()
    own, exec = await bench.runtime.recover()
    assert (own.exec_id, own.state) == (None, running)
    assert (exec.id, exec.exec_id) == (id, "e")
    bench.runtime.signal(id, signal.SIGTERM, "e")
    assert (await asyncio.wait_for(bench.exec_exits.get(), 20))[2].code == 143


async def test_an_end_while_no_daemon_was_there_is_told_by_recover(bench: Bench) -> None:
    id = await run_and_kill_daemon(bench, "exit 3")
    await ended(monitor_pid(bench, id))
    await bench.open()
    (found,) = await bench.runtime.recover()
    assert isinstance(found.state, Exit)
    assert found.state.code == 3


async def ended(pid: int) -> None:
    """Wait until the process is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, gone.set)
    await asyncio.wait_for(gone.wait(), 20)
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


async def test_a_monitor_killed_in_mid_output_is_replaced_and_the_code_is_known(bench: Bench) -> None:
    id, _ = await bench.run("sh", "-c", COUNT)
    os.kill(monitor_pid(bench, id), signal.SIGKILL)
    end = await bench.exit()
    assert (end.code, end.error) == (7, "")
    seen = [int(line.log) for line in bench.logged(id) if line.log.strip().isdigit()]
    assert seen[-1] == LINES - 1
    gaps = [after - before for before, after in pairwise(seen) if after != before + 1]
    assert len(gaps) <= 1  # at most what one read had taken, and the line torn by it


async def test_a_killed_monitor_s_terminal_goes_on_with_the_next(bench: Bench) -> None:
    id, _ = await bench.run("cat", tty=True, stdin=True)
    os.kill(monitor_pid(bench, id), signal.SIGKILL)
    peer = Peer()
    await bench.runtime.attach(id, peer.client, ALL)
    await peer.send(b"hello\n")
    assert await peer.read_until(b"hello\r\nhello\r\n") == b"hello\r\nhello\r\n"


async def test_with_daemon_and_monitor_killed_the_process_is_found_again(bench: Bench) -> None:
    id = await run_and_kill_daemon(bench, "sleep 60; exit 9")
    os.kill(monitor_pid(bench, id), signal.SIGKILL)
    await bench.open()
    (found,) = await bench.runtime.recover()
    assert isinstance(found.state, Running)
    bench.runtime.signal(id, signal.SIGKILL)
    end = await bench.exit()
    assert end.code == 137


async def test_a_start_that_was_cut_off_is_lost_and_can_be_deleted(bench: Bench) -> None:
    left = bench.exec_root / "c" / "0123"
    left.mkdir()
    (left / "config.json").write_bytes(b"{}")
    (found,) = await bench.runtime.recover()
    assert found.state is Lost.LOST
    await bench.runtime.delete("0123")
    assert not left.exists()


async def test_a_zygote_that_dies_is_replaced(bench: Bench) -> None:
    os.kill(bench.runtime._zygote.pid, signal.SIGKILL)
    await ended(bench.runtime._zygote.pid)
    await bench.run("sh", "-c", "exit 5")
    assert (await bench.exit()).code == 5


async def test_what_is_mounted_later_is_seen_by_containers(bench: Bench, mounted: Path) -> None:
    bench.root = mounted
    id, _ = await bench.run("cat", "/bin/plain")
    await bench.exit()
    assert bench.text(id) == "not executable\n"


@pytest.fixture
async def mounted(bench: Bench) -> AsyncIterator[Path]:
    """The root once more, bind-mounted in the data root after the zygote was started."""
    place = bench.tmp / "data" / "root"
    place.mkdir(parents=True)
    mount.bind(str(bench.root), str(place))
    yield place
    for id in bench.ids:
        await bench.runtime.delete(id)
    mount.umount(str(place))
