"""Probing the health of running containers: one task for each, one probe of each at a time.

A probe is an exec like any other, with its events; what it says comes over a socket pair, as a client would
get it. Starting one costs as much as all the rest, so only a few are started at the same time.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lighterman.apitypes.container import HealthConfig
from lighterman.apitypes.exec import ExecCreateBody, ExecStartBody
from lighterman.containers import health
from lighterman.containers.ending import KILL, ended_within
from lighterman.containers.exec import NOT_STARTED, exec_create, exec_start
from lighterman.containers.execs import Exec, ExecEnded, ExecRunning
from lighterman.containers.health import FAILED, Health, KeptOutput, Probe
from lighterman.containers.life import Running
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import EngineError, NotFound
from lighterman.lib.frames import FrameReader
from lighterman.linux.descent import kill_descendants
from lighterman.runtime import Client, ProcessGone

BURIED_IN_S = 0.2
"""How long a shell has to bury its killed children, before it is killed itself."""


async def probe_on(cs: Containers, container_id: str, first_s: float | None) -> None:
    """Probe a container until its run ends; `first_s` to the first probe, None: its usual pause."""
    container = cs.find(container_id)
    gone = cs.live(container_id).next_exit
    check = health.check_of(container.config)
    if check is None or not container.runs:
        return
    delay_s = _pause_s(container, check) if first_s is None else first_s
    with suppress(NotFound):  # it was removed
        while not await ended_within(gone, delay_s):
            container = cs.find(container_id)
            if isinstance(container.life, Running):  # one that is frozen cannot answer
                await _probe(cs, container, check, gone)
            delay_s = _pause_s(cs.find(container_id), check)


def _pause_s(container: Container, check: HealthConfig) -> float:
    started_ns = container.life.started_ns if isinstance(container.life, Running) else 0
    return health.pause_s(container.health or Health(), check, ran_ns=time.time_ns() - started_ns)


async def _probe(
    cs: Containers, container: Container, check: HealthConfig, gone: "asyncio.Future[int]"
) -> None:
    began_ns = time.time_ns()
    try:
        async with _unless(gone):
            code, output = await _answer(cs, container, check)
    except TimeoutError:  # the run has ended: nobody asks any more
        return
    except EngineError as error:
        code, output = FAILED, str(error)
    await _take(cs, container, check, Probe(began_ns, time.time_ns(), code, output))


@asynccontextmanager
async def _unless(gone: "asyncio.Future[int]") -> AsyncIterator[None]:
    """Breaks its body off with TimeoutError once the run has ended."""
    over = False
    async with asyncio.timeout(None) as limit:

        def break_off(_: object) -> None:
            if not over:  # else it was on its way already when the body ended by itself
                limit.reschedule(0)

        gone.add_done_callback(break_off)
        try:
            yield
        finally:
            over = True
            gone.remove_done_callback(break_off)


async def _take(cs: Containers, container: Container, check: HealthConfig, probe: Probe) -> None:
    """Let the container's health move; a probe of an earlier run, or of a frozen container, says nothing."""
    async with cs.locked(container.id) as now:
        if now.life != container.life or not isinstance(now.life, Running):
            return
        before = now.health or Health()
        found = health.after(before, probe, check, started_ns=now.life.started_ns)
        if found.status == before.status:
            cs.note(now, health=found)
        else:
            now = await cs.record(now, health=found)
            cs.publish(now, f"health_status: {found.status}")


async def _answer(cs: Containers, container: Container, check: HealthConfig) -> tuple[int, str]:
    """Run one probe to its end: its code, and what it said. Raises: EngineError when it cannot be started."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def take() -> Client:
        return Client(theirs, early=b"", head=b"")

    with ours, theirs:
        async with cs.probes:
            one = await _start(cs, container, check, take)
        answer = await _heard(cs, one, check, ours)
    cs.execs.pop(one.id, None)  # else fast checks would fill the memory
    return answer


async def _heard(cs: Containers, one: Exec, check: HealthConfig, ours: socket.socket) -> tuple[int, str]:
    said = KeptOutput()
    try:
        async with asyncio.timeout(health.timeout_s(check)):
            await _listen(ours, said)
            if isinstance(cs.execs[one.id].life, ExecRunning):
                await one.ended.wait()
    except TimeoutError:
        await _end(cs, one)
        return FAILED, health.too_long(check, said.text)
    match cs.execs[one.id].life:
        case ExecEnded(code=code, pid=0) if code == NOT_STARTED:
            return FAILED, said.text.rstrip("\r\n")
        case ExecEnded(code=code):
            return code, said.text
    raise NotFound(f"the probe of container {one.container_id} is gone")


async def _start(
    cs: Containers, container: Container, check: HealthConfig, take: Callable[[], Awaitable[Client]]
) -> Exec:
    command = health.command(check, container.config.shell)
    wish = ExecCreateBody(attach_stdout=True, attach_stderr=True, cmd=command)
    exec_id = health.probe_id(container.id, secrets.token_hex(16))
    made = await exec_create(cs, container.id, wish, exec_id=exec_id)
    await exec_start(cs, made.id, ExecStartBody(), take)
    return cs.execs[made.id]


async def _listen(ours: socket.socket, said: KeptOutput) -> None:
    """Hear the probe to its end, however much it says."""
    reader, loop = FrameReader(), asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, 1 << 16):
        for _, piece in reader.feed(data):
            said.add(piece)


def end_orphan(cs: Containers, container_id: str, exec_id: str, pid: int) -> None:
    """Kill a probe that an engine before this one had started: nobody hears it, nobody else would end it."""
    kill_descendants(pid)
    with suppress(ProcessGone):
        cs.runtime.signal(container_id, KILL, exec_id)


async def _end(cs: Containers, one: Exec) -> None:
    """Kill a probe with all that it has started, and wait for its end: they must not pile up.

    Its children first: a shell buries them, a container's first process often buries nobody.
    """
    life = cs.execs[one.id].life
    if isinstance(life, ExecRunning):
        kill_descendants(life.pid)
        with suppress(TimeoutError):
            async with asyncio.timeout(BURIED_IN_S):
                await one.ended.wait()
                return
        kill_descendants(life.pid)
        with suppress(ProcessGone):
            cs.runtime.signal(one.container_id, KILL, one.id)
        await one.ended.wait()
