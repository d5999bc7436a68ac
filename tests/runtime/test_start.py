"""Starting: what a process gets, and that a start that fails leaves nothing."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest
from tests.runtime.bench import ALL, Bench, Peer, process

from lighterman.errdefs import InvalidParameter
from lighterman.oci import spec as oci
from lighterman.runtime import NotStartable, ProcessGone, ProcessIO, StartBroke, StartFailed
from lighterman.runtime.zygote_client import Zygote

pytestmark = pytest.mark.engine
NO_IO = ProcessIO(tty=False, stdin=False, stdin_once=False, log=None, size=None)
RUN = (
    "failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: "
)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
async def test_a_process_gets_its_three_streams_and_no_other_fd(bench: Bench, runtime: str) -> None:
    id, _ = await bench.run("sh", "-c", "ls /proc/1/fd; exit 0", runtime=runtime)
    assert (await bench.exit()).code == 0
    assert bench.text(id).split() == ["0", "1", "2"]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
async def test_a_process_is_filtered_and_ignores_no_signal(bench: Bench, runtime: str) -> None:
    id, _ = await bench.run("grep", "-E", "^(Seccomp|SigIgn|SigBlk):", "/proc/self/status", runtime=runtime)
    await bench.exit()
    blocked, ignored, seccomp = (int(line.split()[1], 16) for line in bench.text(id).splitlines())
    assert (blocked, ignored & 0x7FFFFFFF, seccomp) == (0, 0, 2)  # 32 and 33 are libc's own, and out of reach


async def test_an_exec_is_filtered_as_its_container_is(bench: Bench) -> None:
    id, _ = await bench.run("sleep", "60")
    peer = Peer()
    args = ("grep", "-E", "^Seccomp:", "/proc/self/status")
    await bench.runtime.exec(id, "e", oci.encode(process(args)), NO_IO, attached=[(peer.client, ALL)])
    assert (await peer.read_all()).split() == [b"Seccomp:", b"2"]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize(
    ("program", "code", "text"),
    [
        ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'),
        ("/bin/nosuch", 127, 'exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory: unknown'),
        ("/etc", 126, 'exec: "/etc": permission denied: unknown'),
        ("/bin/plain", 126, 'exec: "/bin/plain": permission denied: unknown'),
    ],
)
async def test_a_start_that_fails_says_why_in_dockerd_s_words(
    bench: Bench, runtime: str, program: str, code: int, text: str
) -> None:
    peer = Peer(early=b"input", head=b"HTTP/1.1 101 UPGRADED\r\n\r\n")
    with pytest.raises(NotStartable) as failed:
        await bench.run(program, runtime=runtime, stdin=True, attached=[(peer.client, ALL)])
    assert (failed.value.message, failed.value.exit_code) == (RUN + text, code)
    assert isinstance(failed.value, InvalidParameter)
    assert not list((bench.exec_root / "c").iterdir())
    assert not list((bench.exec_root / "oci" / runtime).iterdir())
    peer.client.sock.sendall(b"still yours")  # not a byte was written, and it is open
    assert await peer.read() == b"still yours"


@pytest.mark.parametrize(("program", "code"), [("nosuch", 127), ("/etc", 126)])
async def test_an_exec_that_fails_leaves_its_container_alone(bench: Bench, program: str, code: int) -> None:
    id, _ = await bench.run("sleep", "60")
    with pytest.raises(StartFailed) as failed:
        await bench.runtime.exec(id, "e", oci.encode(process([program])), NO_IO)
    assert failed.value.exit_code == code
    assert failed.value.message.startswith("OCI runtime exec failed: exec failed: unable to start container")
    assert len(bench.runtime.pids(id)) == 1
    assert not list((bench.exec_root / "c" / id / "x").iterdir())


async def test_twenty_starts_at_once_all_run(bench: Bench) -> None:
    started = await asyncio.gather(*(bench.run("sh", "-c", f"exit {number}") for number in range(20)))
    ends = dict([await asyncio.wait_for(bench.exits.get(), 20) for _ in started])
    assert [ends[id].code for id, _ in started] == list(range(20))


async def test_an_unknown_runtime_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidParameter, match="Unknown runtime specified kata"):
        await bench.run("true", runtime="kata")


async def test_without_any_runtime_the_start_says_what_to_install(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await bench.close()
    monkeypatch.setenv("PATH", str(tmp_path))
    await bench.open()
    with pytest.raises(StartBroke) as failed:
        await bench.run("true")
    assert failed.value.message == "no OCI runtime works here: crun: not installed; runc: not installed"
    monkeypatch.undo()


async def test_with_runc_alone_everything_works(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await bench.close()
    (tmp_path / "runc").symlink_to(shutil.which("runc") or "/usr/sbin/runc")
    monkeypatch.setenv("PATH", str(tmp_path))
    await bench.open()
    monkeypatch.undo()
    assert list(bench.runtime.version()) == ["runc"]
    peer = Peer()
    id, _ = await bench.run("sh", "-c", "echo $1; sleep 60", "sh", "hello", attached=[(peer.client, ALL)])
    assert await peer.read_until(b"hello\n") == b"hello\n"
    await bench.runtime.exec(id, "e", oci.encode(process(["sh", "-c", "exit 6"])), NO_IO)
    assert (await asyncio.wait_for(bench.exec_exits.get(), 20))[2].code == 6
    with pytest.raises(StartBroke, match="no OCI runtime works here: crun: not installed"):
        await bench.run("true", runtime="crun")


@pytest.mark.parametrize(
    ("end", "text"),
    [("kill -9 $$", "was killed by signal 9"), ("exit 0", "ended without a process")],
    ids=["killed", "content"],
)
async def test_a_runtime_that_cannot_say_why_is_told_as_that(
    bench: Bench, tmp_path: Path, end: str, text: str
) -> None:
    dies = tmp_path / "dies"
    dies.write_text(f'#!/bin/sh\ncase " $* " in *" run "*) {end};; esac\nexec crun "$@"\n')
    dies.chmod(0o755)
    await bench.runtime.offer({"dies": [str(dies)]})
    with pytest.raises(StartBroke) as failed:
        await bench.run("true", runtime="dies")
    assert failed.value.message == f"{RUN}the OCI runtime {text}: unknown"
    assert not list((bench.exec_root / "c").iterdir())


async def test_the_same_id_runs_again_only_after_its_delete(bench: Bench) -> None:
    id, _ = await bench.run("true")
    await bench.exit()
    spec = bench.spec(id, ["true"])
    with pytest.raises(ProcessGone):
        bench.runtime.signal(id, 15)
    await bench.runtime.delete(id)
    await bench.runtime.delete(id)
    await bench.runtime.run(id, spec, NO_IO, runtime="", seccomp=None)
    assert (await bench.exit()).code == 0


async def test_an_oci_runtime_runs_from_a_copy_that_nobody_can_write() -> None:
    """A program that looks at itself, as crun and runc do, finds all four seals, and makes no copy."""
    zygote = Zygote([])
    look = "import fcntl; raise SystemExit(fcntl.fcntl(open('/proc/self/exe'), 1034))"
    assert (await zygote.call([sys.executable, "-c", look]))[0] == 0xF
    zygote.close()
