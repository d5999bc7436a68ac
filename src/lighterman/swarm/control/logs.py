"""What tasks wrote, from the nodes that they are on, as one stream of frames.

A line's origin is told as its details, which clients make their prefix of. Source: moby,
daemon/cluster/services.go and api/server/httputils/write_log_stream.go.
"""

import datetime as dt
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from urllib.parse import quote_plus

from msgspec import Struct

from lighterman.errdefs import System
from lighterman.lib.frames import frame
from lighterman.lib.go_time import parse_timestamp
from lighterman.swarm.control.find import one
from lighterman.swarm.control.tasks import find
from lighterman.swarm.identity import new_id
from lighterman.swarm.session import LogLine, LogsWanted
from lighterman.swarm.state import Kind, Service, State, Task, TaskState

_STREAMS = {"stdout": 1, "stderr": 2}
Read = Callable[[LogsWanted, dict[str, str]], AsyncIterator[LogLine]]
"""Asks nodes: what is wanted, and the node of each task."""


class Options(Struct, frozen=True):
    """What a reader wants, as the API has it."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since: str = ""
    tail: str = ""


def of_service(state: State, ref: str) -> tuple[list[Task], bool]:
    """The service's tasks, and whether they have terminals. Raises NoSuchObject, Ambiguous."""
    service = one(state, Kind.SERVICE, ref, Service)
    container = service.spec.task_template.container_spec
    return state.tasks_of_service(service.id), container is not None and container.tty


def of_task(state: State, ref: str) -> tuple[list[Task], bool]:
    """The task, and whether it has a terminal. Raises NoSuchObject, Ambiguous."""
    task = find(state, ref)
    template = state.templates.get(task.template_id)
    container = template.spec.container_spec if template else None
    return [task], container is not None and container.tty


def wanted(options: Options, tasks: Iterable[Task]) -> LogsWanted:
    """The question to the nodes. Raises System, as dockerd takes a wrong option for a failure of its own."""
    if not (options.stdout or options.stderr):
        raise System("Bad parameters: you must choose at least one stream")
    return LogsWanted(
        subscription_id=new_id(),
        task_ids=tuple(task.id for task in tasks),
        follow=options.follow,
        stdout=options.stdout,
        stderr=options.stderr,
        since_ns=_since_ns(options.since),
        tail=_tail(options.tail),
    )


def _since_ns(text: str) -> int:
    try:
        return parse_timestamp(text, now_ns=time.time_ns()) if text and text != "0" else 0
    except ValueError as error:
        raise System(f"could not parse since timestamp: {error}") from error


def _tail(text: str) -> int:
    if text in ("", "all"):
        return -1
    try:
        lines = int(text)
    except ValueError:
        raise System('tail value must be a positive integer or "all"') from None
    if lines < 0:
        raise System("negative tail values not supported")
    return lines


async def read(
    state: State, tasks: Iterable[Task], options: Options, read_nodes: Read, *, framed: bool
) -> AsyncIterator[bytes]:
    """The lines, framed unless there is a terminal."""
    placed = [task for task in tasks if task.node_id and state.seen(task).state >= TaskState.ASSIGNED]
    question = wanted(options, placed)
    lines = read_nodes(question, {task.id: task.node_id for task in placed})
    async for line in lines:
        text = _shown(line, options)
        yield frame(_STREAMS[line.stream], text) if framed else text


def _shown(line: LogLine, options: Options) -> bytes:
    text = line.text
    if options.details:
        text = _details(line).encode() + b" " + text
    if options.timestamps:
        text = f"{_fixed(line.time_ns)} ".encode() + text
    return text


def _details(line: LogLine) -> str:
    """The line's own attributes, and where it comes from, sorted by key."""
    pairs: Mapping[str, str] = {
        **line.attributes,
        "com.docker.swarm.node.id": line.node_id,
        "com.docker.swarm.service.id": line.service_id,
        "com.docker.swarm.task.id": line.task_id,
    }
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(pairs.items()))


def _fixed(time_ns: int) -> str:
    """A moment with nine decimals always."""
    seconds, nanos = divmod(time_ns, 10**9)
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
