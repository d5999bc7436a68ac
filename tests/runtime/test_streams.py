"""Attached clients: nothing lost, nothing mixed, and everybody may leave."""

import asyncio
import signal
import socket

import pytest
from tests.runtime.bench import ALL, Bench, Peer, process, streams

from lighterman.lib.detach_keys import DEFAULT
from lighterman.oci import spec as oci
from lighterman.runtime import AttachTo, ProcessGone, ProcessIO

pytestmark = pytest.mark.engine
FRAMED = AttachTo(stdin=True, stdout=True, stderr=True, detach_keys=b"", framed=True)
KEYS = AttachTo(stdin=True, stdout=True, stderr=True, detach_keys=DEFAULT, framed=False)


async def test_attached_before_the_start_a_client_loses_nothing(bench: Bench) -> None:
    peer = Peer(head=b"HEAD\r\n\r\n")
    id, _ = await bench.run("seq", "1", "200000", attached=[(peer.client, ALL)])
    expected = b"".join(b"%d\n" % number for number in range(1, 200_001))
    assert await peer.read_all() == b"HEAD\r\n\r\n" + expected
    assert (await bench.exit()).code == 0
    assert bench.text(id).encode() == expected


async def test_stdout_and_stderr_stay_apart_in_frames_and_in_the_log(bench: Bench) -> None:
    peer, errors_only = Peer(), Peer()
    only = AttachTo(stdin=False, stdout=False, stderr=True, detach_keys=b"", framed=True)
    id, _ = await bench.run(
        "sh", "-c", "echo out; echo err >&2", attached=[(peer.client, FRAMED), (errors_only.client, only)]
    )
    assert streams(await peer.read_all()) == {1: b"out\n", 2: b"err\n"}
    assert streams(await errors_only.read_all()) == {2: b"err\n"}
    await bench.exit()
    assert {(line.stream, line.log) for line in bench.logged(id)} == {
        ("stdout", "out\n"),
        ("stderr", "err\n"),
    }


async def test_the_end_of_input_reaches_the_process_and_its_last_words_the_client(bench: Bench) -> None:
    peer = Peer(early=b"early\n")
    await bench.run("sh", "-c", "cat; echo done", stdin=True, once=True, attached=[(peer.client, FRAMED)])
    await peer.send(b"late\n")
    peer.end_input()
    assert streams(await peer.read_all()) == {1: b"early\nlate\ndone\n"}
    assert (await bench.exit()).code == 0


async def test_input_larger_than_every_buffer_arrives_whole(bench: Bench) -> None:
    early, late = b"e" * 300_000, b"l" * 3_000_000
    peer = Peer(early=early)
    await bench.run("cat", stdin=True, once=True, attached=[(peer.client, ALL)])
    answer = asyncio.ensure_future(peer.read_all())
    await peer.send(late)
    peer.end_input()
    assert await answer == early + late


async def test_without_stdin_once_a_client_s_end_is_not_the_process_s(bench: Bench) -> None:
    first, second = Peer(), Peer()
    id, _ = await bench.run("cat", stdin=True, attached=[(first.client, ALL)])
    await first.send(b"one\n")
    await first.read_until(b"one\n")
    first.end_input()
    assert await first.read_all() == b""  # its stream ends, as with dockerd
    await bench.runtime.attach(id, second.client, ALL)
    await second.send(b"two\n")
    assert await second.read_until(b"two\n") == b"two\n"


async def test_a_client_that_only_listens_may_half_close(bench: Bench) -> None:
    peer = Peer()
    listen = AttachTo(stdin=False, stdout=True, stderr=True, detach_keys=b"", framed=False)
    id, _ = await bench.run("sh", "-c", "read x; echo heard", stdin=True, attached=[(peer.client, listen)])
    peer.end_input()
    speaker = Peer()
    await bench.runtime.attach(id, speaker.client, ALL)
    await speaker.send(b"go\n")
    assert await peer.read_all() == b"heard\n"


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_detach_keys_end_the_stream_and_not_the_process(bench: Bench, cut: int) -> None:
    peer = Peer()
    id, _ = await bench.run("cat", tty=True, stdin=True, attached=[(peer.client, KEYS)])
    typed = b"a" + DEFAULT
    await peer.send(typed[:cut])
    if cut < len(typed):
        await peer.read_until(b"a")
        await peer.send(typed[cut:])
    assert await peer.read_all() == b""
    assert await asyncio.wait_for(bench.detached.get(), 20) == id
    assert len(bench.runtime.pids(id)) == 1


async def test_a_terminal_has_its_size_from_the_first_moment_and_can_be_resized(bench: Bench) -> None:
    peer = Peer()
    id, _ = await bench.run(
        "sh",
        "-c",
        "stty size; read x; stty size",
        tty=True,
        stdin=True,
        size=(33, 101),
        attached=[(peer.client, ALL)],
    )
    assert await peer.read_until(b"33 101\r\n") == b"33 101\r\n"
    await bench.runtime.resize(id, 40, 120)
    await peer.send(b"\n")
    assert (await peer.read_all()).endswith(b"40 120\r\n")
    assert (await bench.exit()).code == 0


async def test_a_client_that_does_not_read_holds_the_process_as_with_dockerd(bench: Bench) -> None:
    slow = Peer()
    script = "dd if=/dev/zero bs=65536 count=128 2>/dev/null; echo written >&2"
    id, _ = await bench.run("sh", "-c", script, log=False, attached=[(slow.client, ALL)])
    watcher = Peer()
    await bench.runtime.attach(id, watcher.client, AttachTo(False, False, True, b"", False))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(watcher.sock, 64), 0.3)
    assert len(await slow.read_all()) == 128 * 65536 + len("written\n")
    assert await watcher.read_all() == b"written\n"


async def test_an_end_is_told_though_a_client_never_reads_and_its_bytes_wait_for_it(bench: Bench) -> None:
    slow = Peer()
    script = "head -c 900000 /dev/zero"
    await bench.run("sh", "-c", script, log=False, attached=[(slow.client, ALL)])
    assert (await bench.exit()).code == 0
    assert len(await slow.read_all()) == 900_000


async def test_a_client_that_vanishes_is_forgotten(bench: Bench) -> None:
    gone, stays = Peer(), Peer()
    clients = [(gone.client, ALL), (stays.client, AttachTo(False, True, True, b"", False))]
    await bench.run("sh", "-c", "cat; seq 1 100000 | tail -n 1", stdin=True, once=True, attached=clients)
    gone.sock.close()  # its input ends with it
    assert await stays.read_all() == b"100000\n"
    assert (await bench.exit()).code == 0


async def test_input_that_nobody_reads_costs_the_client_nothing(bench: Bench) -> None:
    ours, theirs = socket.create_server(("127.0.0.1", 0)), Peer()
    theirs.sock.close()
    theirs.sock = socket.create_connection(ours.getsockname())
    theirs.sock.setblocking(False)
    accepted, _ = ours.accept()
    ours.close()
    client = type(theirs.client)(accepted, b"", b"")
    await bench.run("sh", "-c", "sleep 0.1; echo bye", stdin=True, once=True, attached=[(client, ALL)])
    await theirs.send(b"x" * 100_000)
    assert await theirs.read_all() == b"bye\n"  # no reset: TCP would have thrown the answer away


async def test_an_exec_has_streams_of_its_own(bench: Bench) -> None:
    id, _ = await bench.run("sleep", "60")
    peer = Peer(head=b"HEAD ")
    io = ProcessIO(tty=False, stdin=True, stdin_once=True, log=None, size=None)
    command = oci.encode(process(["sh", "-c", "cat; exit 4"]))
    await bench.runtime.exec(id, "e1", command, io, attached=[(peer.client, FRAMED)])
    await peer.send(b"hello")
    peer.end_input()
    answer = await peer.read_all()
    assert (answer[:5], streams(answer[5:])) == (b"HEAD ", {1: b"hello"})
    told = await asyncio.wait_for(bench.exec_exits.get(), 20)
    assert (told[:2], told[2].code) == ((id, "e1"), 4)
    assert bench.logged(id) == []


@pytest.mark.parametrize("runtime", ["crun", "runc"])
async def test_an_exec_may_have_a_terminal_and_be_left_by_keys(bench: Bench, runtime: str) -> None:
    id, _ = await bench.run("sleep", "60", runtime=runtime)
    peer = Peer()
    io = ProcessIO(tty=True, stdin=True, stdin_once=True, log=None, size=(12, 34))
    command = oci.encode(process(["sh", "-c", "read x; stty size; read x; exit 3"], tty=True))
    await bench.runtime.exec(id, "e1", command, io, attached=[(peer.client, KEYS)])
    await peer.send(b"\n")
    assert await peer.read_until(b"12 34\r\n") == b"\r\n12 34\r\n"
    await bench.runtime.resize(id, 56, 78, "e1")
    await peer.send(DEFAULT)
    assert await peer.read_all() == b""
    assert await asyncio.wait_for(bench.exec_detached.get(), 20) == (id, "e1")
    bench.runtime.signal(id, signal.SIGKILL, "e1")
    assert (await asyncio.wait_for(bench.exec_exits.get(), 20))[2].code == 137


async def test_nobody_attaches_to_what_has_ended(bench: Bench) -> None:
    id, _ = await bench.run("true")
    await bench.exit()
    peer = Peer()
    with pytest.raises(ProcessGone):
        await bench.runtime.attach(id, peer.client, ALL)
    peer.client.sock.sendall(b"still yours")
    assert await peer.read() == b"still yours"
