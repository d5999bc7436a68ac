"""What a manager asks of a task's container on another node."""

import asyncio
import socket

import pytest
from msgspec.structs import replace
from tests.swarm.world import World, spec

from lighterman import errdefs
from lighterman.apitypes.service import ContainerStatus, TaskStatus
from lighterman.containers.errors import NoSuchContainer
from lighterman.swarm.call import (
    Ask,
    Beat,
    CallFrame,
    End,
    Piece,
    Told,
    carry,
    decode_call,
    encode_call,
    failure,
    result,
)
from lighterman.swarm.node.calls import Calls
from lighterman.swarm.node.channels import LocalChannel
from lighterman.swarm.node.elsewhere import placed
from lighterman.swarm.session import CallWanted, ChannelClosed
from lighterman.swarm.state import Kind, TaskObservation

Local = LocalChannel[CallFrame, CallFrame]


def pair() -> tuple[Local, Local]:
    """The ends of a call."""
    there: asyncio.Queue[CallFrame | None] = asyncio.Queue(8)
    back: asyncio.Queue[CallFrame | None] = asyncio.Queue(8)
    return LocalChannel(there, back), LocalChannel(back, there)


class Stream:
    """A client, a manager, a node and a process, one behind the other."""

    def __init__(self, early: bytes = b"", head: bytes = b"") -> None:
        self.channel, node = pair()
        self.client, taken = socket.socketpair()
        self.process, given = socket.socketpair()
        for sock in (self.client, self.process):
            sock.setblocking(False)
        self.carried = asyncio.gather(
            carry(self.channel, taken, early, head=head, to_its_end=False),
            self._node(node, given),
        )

    async def _node(self, channel: Local, sock: socket.socket) -> None:
        await carry(channel, sock, to_its_end=True)
        await channel.close()

    async def end(self) -> None:
        await asyncio.wait_for(self.carried, 30)
        self.client.close()
        self.process.close()


async def read(sock: socket.socket) -> bytes:
    """To its end."""
    data = b""
    while piece := await asyncio.get_running_loop().sock_recv(sock, 1 << 16):
        data += piece
    return data


async def test_a_process_reads_all_that_its_client_says_and_is_heard_to_its_end() -> None:
    stream, loop = Stream(early=b"early ", head=b"HTTP "), asyncio.get_running_loop()
    await loop.sock_sendall(stream.client, b"late")
    stream.client.shutdown(socket.SHUT_WR)
    assert await read(stream.process) == b"early late"
    said = b"x" * 3_000_000

    async def say() -> None:
        await loop.sock_sendall(stream.process, said)
        stream.process.shutdown(socket.SHUT_WR)

    saying = asyncio.create_task(say())
    assert await read(stream.client) == b"HTTP " + said
    await saying
    await stream.end()


async def test_a_process_that_ends_lets_its_client_go_that_says_nothing() -> None:
    stream = Stream()
    stream.process.close()
    assert await read(stream.client) == b""
    await stream.end()


async def test_a_process_whose_manager_is_lost_has_no_client_any_more() -> None:
    stream = Stream()
    await stream.channel.close()
    assert await read(stream.process) == b""
    await stream.end()


@pytest.mark.parametrize("frame", [Ask("inspect", "x", b"{}"), Told(b"1"), Piece(b"x"), End(), Beat()])
def test_frames_are_read_as_they_were_written(frame: CallFrame) -> None:
    assert decode_call(encode_call(frame)) == frame


def test_a_refusal_keeps_its_kind_and_its_words() -> None:
    with pytest.raises(errdefs.NotFound, match=r"^No such container: x$"):
        result(failure(NoSuchContainer("x")))
    with pytest.raises(errdefs.System, match=r"^new$"):
        result(Told(kind="Unheard", text="new"))
    with pytest.raises(errdefs.System, match=r"^x$"):
        result(Told(kind="__name__", text="x"))
    assert result(Told(b"{}")) == b"{}"
    with pytest.raises(errdefs.System, match="another language"):
        result(Beat())


async def test_only_the_node_that_is_called_may_take_the_call_up_and_only_once() -> None:
    wanted: asyncio.Queue[CallWanted] = asyncio.Queue()

    async def want(node_id: str, call: CallWanted) -> None:
        await wanted.put(call)

    calls = Calls(want, "192.0.2.1:2377")
    ours, theirs = pair()
    asking = asyncio.create_task(calls.ask("n2", Ask("inspect", "x")))
    call = await wanted.get()
    assert call.addr == "192.0.2.1:2377"
    for who, id in (("n1", call.call_id), ("n2", "another")):
        with pytest.raises(errdefs.Forbidden):
            calls.check(id, who)
    calls.check(call.call_id, "n2")
    taking = asyncio.create_task(calls.take(call.call_id, ours))
    assert await theirs.receive() == Ask("inspect", "x")
    with pytest.raises(errdefs.Forbidden):
        calls.check(call.call_id, "n2")
    await theirs.send(Told(b"answer"))
    assert await asking == b"answer"
    await taking


async def test_a_node_that_is_away_is_told_to_be() -> None:
    async def want(node_id: str, call: CallWanted) -> None:
        raise ChannelClosed("it is not connected with any manager")

    with pytest.raises(errdefs.Unavailable, match="node n2 cannot be reached: it is not connected"):
        await Calls(want, "").ask("n2", Ask("inspect", "x"))


def test_a_container_elsewhere_is_found_by_its_name_and_its_id_but_not_as_a_task() -> None:
    world = World(1)
    world.create(spec())
    world.settle()
    (task,) = world.tasks("web")
    known = world.state.observations[task.id]
    container = ContainerStatus("0123456789abcdef")
    status = TaskStatus(timestamp=known.status.timestamp, state="running", container_status=container)
    world.put(Kind.TASK_STATUS, TaskObservation(id=task.id, status=status))
    name = f"web.1.{task.id}"
    for ref in (name, f"/{name}", "0123456789abcdef", "0123456789ab"):
        assert placed(world.state, ref) == ("node1", name)
    for ref in (task.id, "web.1", "0123456789a", "abcdef012345"):
        assert placed(world.state, ref) is None
    world.put(Kind.TASK, replace(world.state.tasks[task.id], node_id=""))
    assert placed(world.state, name) is None
