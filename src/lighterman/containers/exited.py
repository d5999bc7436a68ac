"""When a process has ended: its die event, what is taken down, and whether it starts again."""

import asyncio
import logging

from lighterman.containers.execs import ExecEnded, ExecRunning, Prepared
from lighterman.containers.life import LIVING, Ended, Restarting
from lighterman.containers.plan_start import prepare
from lighterman.containers.remove import remove
from lighterman.containers.restart_policy import restart_delay_s
from lighterman.containers.start import run
from lighterman.containers.state import Container, Containers
from lighterman.containers.take_down import take_down
from lighterman.errdefs import EngineError
from lighterman.runtime import Exit

log = logging.getLogger(__name__)


async def on_exit(cs: Containers, container_id: str, end: Exit) -> None:
    """The runtime tells that a container's process has ended; log and streams are complete."""
    async with cs.locked(container_id) as container:
        await ended(cs, container, end)


async def ended(cs: Containers, container: Container, end: Exit) -> None:
    """Record the end of a run, tell it, clean up, and do what is wished then (with the lock held)."""
    assert isinstance(container.life, LIVING)
    live = cs.live(container.id)
    delay_s = next_delay_s(container, end)
    again = delay_s is not None
    container = await cs.record(
        container,
        Ended(end.code, end.oom_killed, end.at_ns, again, end.error),
        restart_count=container.restart_count + again,
        restart_delay_s=delay_s or 0.0,
    )
    if end.oom_killed and not container.oom_killed:  # else it was told when it happened
        cs.publish(container, "oom")
    cs.publish(container, "die", exitCode=str(end.code))
    _forget_prepared(cs, container.id)
    try:
        await take_down(cs, container)
    finally:
        live.tell_exit(end.code)
    if delay_s is not None:
        cs.later.start(start_later, cs, container.id, delay_s)
    elif container.host_config.auto_remove and not live.restarting:
        cs.later.start(remove_at_end, cs, container.id)


def _forget_prepared(cs: Containers, container_id: str) -> None:
    """An exec that was never started is of the run that it was made in. Source: Cleanup of moby."""
    cs.execs = {
        id: one for id, one in cs.execs.items() if one.container_id != container_id or one.life != Prepared()
    }


def next_delay_s(container: Container, end: Exit) -> float | None:
    """Seconds until the policy starts `container` again; None when it is to rest. Pure."""
    if container.stopped_by_user or not isinstance(container.life, LIVING):
        return None
    return restart_delay_s(
        container.host_config.restart_policy,
        end.code,
        container.restart_count,
        (end.at_ns - container.life.started_ns) / 10**9,
        container.restart_delay_s,
    )


async def start_later(cs: Containers, container_id: str, delay_s: float) -> None:
    """Start a container again after `delay_s`, unless it is called off meanwhile."""
    called_off = cs.live(container_id).called_off
    called_off.clear()
    try:
        async with asyncio.timeout(delay_s):
            await called_off.wait()
            return
    except TimeoutError:
        pass
    try:
        async with cs.locked(container_id) as container:
            if isinstance(container.life, Restarting):
                plan = prepare(container, cs.find)
                await run(cs, plan, restart_count=container.restart_count, stopped_by_user=False)
    except EngineError as error:
        log.warning("op=restart container=%s outcome=failed error=%s", container_id[:12], error)


async def remove_at_end(cs: Containers, container_id: str) -> None:
    """Remove a container that was to go away when it ends, with its anonymous volumes."""
    try:
        await remove(cs, container_id, volumes=True)
    except EngineError as error:  # a client was faster
        log.info("op=auto-remove container=%s outcome=%s", container_id[:12], error)


async def on_exec_exit(cs: Containers, container_id: str, exec_id: str, end: Exit) -> None:
    """The runtime tells that an exec's process has ended."""
    one = cs.execs.get(exec_id)
    if one is None or not isinstance(one.life, ExecRunning):
        return  # started by an engine before this one: nobody can ask for it any more
    cs.end_exec(one, ExecEnded(end.code, one.life.pid))
    one.ended.set()
    if container_id in cs:
        cs.publish(cs.find(container_id), "exec_die", execID=exec_id, exitCode=str(end.code))


def on_detach(cs: Containers, container_id: str) -> None:
    """The runtime tells that a client has detached by keys."""
    if container_id in cs:
        cs.publish(cs.find(container_id), "detach")
