"""Progress messages: their texts, and a stream of them between the one who works and the one who reads."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from lighterman.apitypes.image import Progress, ProgressDetail, failure
from lighterman.content import Step
from lighterman.errdefs import EngineError
from lighterman.lib.effects import to_end

Emit = Callable[[Progress], None]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_BAR = 50


def status(text: str, *, id: str = "") -> Progress:
    """A line of its own."""
    return Progress(status=text, id=id) if id else Progress(status=text)


def action(text: str, id: str, current: int = 0, total: int = 0) -> Progress:
    """What happens to `id` now; the client rewrites its line."""
    detail = ProgressDetail(current=current, total=total)
    text_bar = bar(current, total)
    if text_bar:
        return Progress(status=text, progress_detail=detail, progress=text_bar, id=id)
    return Progress(status=text, progress_detail=detail, id=id)


def step_action(step: Step, id: str) -> Progress:
    """A worker's Step as a message about `id`."""
    return action(step.action, id, step.current, step.total)


def bar(current: int, total: int) -> str:
    """`[====>   ]  1.2MB/3.4MB`. Source: JSONProgress of dockerd 20.10.24, as for a wide terminal."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    done = min(_BAR, current * 100 // total // 2)
    numbers = f"{human_size(current):>8}" + (f"/{human_size(total)}" if current <= total else "")
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {numbers}"


def human_size(size: float) -> str:
    """Four significant digits and a decimal unit. Source: HumanSize of docker/go-units."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.4g}{_UNITS[unit]}"


def _failure(error: EngineError) -> Progress:
    return failure(str(error))


async def stream(
    work: Callable[[Emit], Awaitable[None]],
    *,
    failed: Callable[[EngineError], Progress] = _failure,
    taken: Callable[[], None] = lambda: None,
) -> AsyncGenerator[Progress, None]:
    """What `work` emits, as it comes. Awaited until its first message: what fails before raises.

    What fails after is the last message, as `failed` words it. Whoever stops reading stops the work, and has
    waited for its end. `taken` is called when a message has been read: whoever emits may wait for it.
    """
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(queue.put_nowait)
        finally:
            queue.put_nowait(None)

    async def rest(first: Progress | None) -> AsyncGenerator[Progress, None]:
        try:
            message = first
            while message is not None:
                yield message
                taken()
                message = await queue.get()
            try:
                await task
            except EngineError as error:
                yield failed(error)
        finally:
            await _stop(task)

    task = asyncio.ensure_future(run())  # its parent is the iterator, which outlives it
    try:
        first = await queue.get()
        if first is None:
            await task
    except BaseException:
        await _stop(task)
        raise
    return rest(first)


async def _stop(task: "asyncio.Future[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):  # told already, or nobody is there to be told
        await to_end(_settled(task))


async def _settled(task: "asyncio.Future[None]") -> None:
    await asyncio.wait([task])
