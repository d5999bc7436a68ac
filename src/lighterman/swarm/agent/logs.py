"""What tasks of this node have written, for somebody who asks a manager. Source: Logs of moby's
controller."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import unquote_plus

from lighterman import containers
from lighterman.containers import Containers, LogOptions
from lighterman.errdefs import EngineError, NotFound
from lighterman.lib.effects import Group
from lighterman.lib.filters import Filters
from lighterman.lib.frames import STDERR, FrameReader
from lighterman.lib.go_time import parse_rfc3339
from lighterman.swarm.session import AssignedTask, LogLine, LogsRead, LogsWanted

_LINES_AT_ONCE = 500
log = logging.getLogger(__name__)


async def read_logs(
    cs: Containers,
    node_id: str,
    wanted: LogsWanted,
    find: Callable[[str], AssignedTask | None],
    send: Callable[[LogsRead], Awaitable[None]],
) -> None:
    """Send the lines of the tasks of `wanted`, side by side, and at last that it is done."""
    problems: list[str] = []

    async def one(task: AssignedTask) -> None:
        try:
            async for lines in task_lines(cs, node_id, wanted, task):
                for at in range(0, len(lines), _LINES_AT_ONCE):
                    await send(LogsRead(wanted.subscription_id, tuple(lines[at : at + _LINES_AT_ONCE])))
        except (EngineError, OSError) as error:  # its log may go away under the reader's hands
            problems.append(f"task {task.id}: {error}")

    async with Group() as group:
        for task in filter(None, map(find, wanted.task_ids)):
            group.create_task(one(task))
    await send(LogsRead(wanted.subscription_id, done=True, error="; ".join(problems)))


async def task_lines(
    cs: Containers, node_id: str, wanted: LogsWanted, task: AssignedTask
) -> AsyncIterator[list[LogLine]]:
    """The lines of one task; with `follow` it is waited for, and read until it ends.

    Raises: NotFound, Unimplemented (its log driver keeps nothing).
    """
    if wanted.follow:
        await _started(cs, task.name)
    since = f"{wanted.since_ns // 10**9}.{wanted.since_ns % 10**9:09d}" if wanted.since_ns else ""
    options = LogOptions(
        stdout=wanted.stdout,
        stderr=wanted.stderr,
        follow=wanted.follow,
        timestamps=True,
        details=True,
        since=since,
        tail="all" if wanted.tail < 0 else str(wanted.tail),
        each_framed=True,
    )
    reader = FrameReader()
    async for part in await containers.logs(cs, task.name, options):
        yield [_line(node_id, task, stream, payload) for stream, payload in reader.feed(part)]


def _line(node_id: str, task: AssignedTask, stream: int, payload: bytes) -> LogLine:
    instant, attributes, text = payload.split(b" ", 2)
    pairs = (pair.partition("=")[::2] for pair in attributes.decode().split(",") if pair)
    return LogLine(
        task_id=task.id,
        node_id=node_id,
        service_id=task.service_id,
        stream="stderr" if stream == STDERR else "stdout",
        time_ns=parse_rfc3339(instant.decode()),
        text=text,
        attributes={unquote_plus(key): unquote_plus(value) for key, value in pairs},
    )


async def _started(cs: Containers, name: str) -> None:
    """Wait for the first start of a container that may not even be there yet."""
    with cs.events.listen(
        Filters({"type": ("container",), "container": (name,), "event": ("start",)})
    ) as news:
        try:
            if cs.find(name).attempted:
                return
        except NotFound:
            pass
        await news.next()
