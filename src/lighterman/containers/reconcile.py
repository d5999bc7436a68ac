"""Start-up is recovery: rows and facts are brought together, whatever the last engine was doing.

The rooms below have been here before: what runs still has its network and mounts, the rest has none. So a
container is told by its life and by what was found of its run, and `_settle` is the table of the two.
"""

import logging
import time
from collections.abc import Mapping, Sequence

from lighterman.containers.attend import attend, attend_again
from lighterman.containers.exited import ended, remove_at_end, start_later
from lighterman.containers.health import at_start, is_probe
from lighterman.containers.life import Creating, Exited, Paused, Removing, Restarting, Running, Started
from lighterman.containers.pause import thaw
from lighterman.containers.plan_start import prepare
from lighterman.containers.probing import end_orphan
from lighterman.containers.remove import dismantle, remove
from lighterman.containers.start import run
from lighterman.containers.state import Container, Containers
from lighterman.containers.stats import keep_samples
from lighterman.containers.take_down import take_down
from lighterman.errdefs import EngineError
from lighterman.runtime import Exit, Lost, Recovered
from lighterman.runtime import Running as Adopted

log = logging.getLogger(__name__)

LOST = 255
"""The exit code of a process of which nothing is left, after a reboot for one. Source: dockerd 20.10."""


async def reconcile(cs: Containers, found: Sequence[Recovered]) -> None:
    """Bring rows and facts together at the start; `found` is the answer of `Runtime.recover`.

    Living containers are adopted; ends that nobody saw are told; what was half made or half removed goes;
    restart policies begin to act again.
    """
    facts = {run.id: run.state for run in found if run.exec_id is None}
    for container_id in facts.keys() - {each.id for each in cs}:
        await cs.runtime.delete(container_id)
    for each in found:
        if each.exec_id and isinstance(each.state, Adopted) and is_probe(each.id, each.exec_id):
            end_orphan(cs, each.id, each.exec_id, each.state.pid)
    for container in cs:
        try:
            async with cs.locked(container.id) as container:
                await _settle(cs, container, facts)
        except EngineError as error:  # the others are to be settled all the same
            log.error("op=reconcile container=%s outcome=failed error=%s", container.id[:12], error)
    for container in cs:
        if container.transient:
            cs.later.start(_remove_transient, cs, container.id)
    cs.later.start(keep_samples, cs)


async def _settle(cs: Containers, container: Container, facts: Mapping[str, Adopted | Exit | Lost]) -> None:
    """What is to be done about one container (with its lock held)."""
    match container.life, facts.get(container.id):
        case (Creating() | Removing(), run_of_it):
            if run_of_it is not None:  # the rooms below took it for one that lives
                await take_down(cs, container)
            await dismantle(cs, container, volumes=isinstance(container.life, Creating))
        case (Running() | Paused(), Adopted(pid)):
            if pid != container.pid:
                container = await cs.record(container, life=Running(pid, container.life.started_ns))
            elif isinstance(container.life, Paused) and container.life.for_now:
                container = await thaw(cs, container)
            attend_again(cs, container)
        case (Running() | Paused(), Exit() as end):
            await ended(cs, container, end)
        case (Running() | Paused(), _):
            await ended(cs, container, Exit(LOST, False, time.time_ns()))
        case (Restarting(), None | Lost()):
            waited_s = (time.time_ns() - container.life.finished_ns) / 10**9
            cs.later.start(start_later, cs, container.id, max(0.0, container.restart_delay_s - waited_s))
        case (_, Adopted(pid, started_ns)):  # the engine ended between the start and its record
            health = at_start(container.config, container.health)
            container = await cs.record(container, Started(pid, started_ns), attempted=True, health=health)
            cs.publish(container, "start")
            attend(cs, container)
        case (_, Exit(at_ns=at_ns) as end):
            container = await cs.record(container, Started(0, at_ns), attempted=True)
            cs.publish(container, "start")
            await ended(cs, container, end)
        case (Exited(), _):
            await cs.runtime.delete(container.id)
            _go_on(cs, container)
        case _:
            await cs.runtime.delete(container.id)


async def _remove_transient(cs: Containers, container_id: str) -> None:
    """What served an engine that is gone goes, whether it runs or not."""
    try:
        await remove(cs, container_id, force=True, volumes=True)
    except EngineError as error:
        log.warning("op=reconcile container=%s outcome=failed error=%s", container_id[:12], error)


def _go_on(cs: Containers, container: Container) -> None:
    """What an ended container does when the engine comes back."""
    policy = container.host_config.restart_policy.name
    if container.host_config.auto_remove:
        cs.later.start(remove_at_end, cs, container.id)
    elif policy == "always" or (policy == "unless-stopped" and not container.stopped_by_user):
        cs.later.start(_start, cs, container.id)


async def _start(cs: Containers, container_id: str) -> None:
    try:
        async with cs.locked(container_id) as container:
            if isinstance(container.life, Exited):
                plan = prepare(container, cs.find)
                await run(cs, plan, restart_count=container.restart_count, stopped_by_user=False)
    except EngineError as error:
        log.warning("op=start container=%s outcome=failed error=%s", container_id[:12], error)
