"""What a client reads of a build: messages in the order of the Dockerfile, however the stages run.

A *part* is what one stage says. The first part that has not ended is passed on as it comes, those behind it
are kept until it is their turn; one that has much to say waits then. Nothing is kept without a bound:
whoever reads slowly slows the build. Source: the messages of dockerd 20.10.24, errors of programs in red as
there.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from lighterman.apitypes.image import Progress, failure
from lighterman.errdefs import EngineError, System
from lighterman.registry import Emit, stream

KEPT_MESSAGES = 256
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"

Tell = Callable[[Progress], Awaitable[None]]


class BuildFailed(System):
    """A step ended with an exit code of its own."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Output:
    """All parts of one build. `tell` takes a message, when there is room for it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._parts: list[Part] = []
        self._current = 0

    def part(self) -> "Part":
        """One more part, behind those before it."""
        part = Part(self, len(self._parts))
        self._parts.append(part)
        return part

    async def tell(self, place: int, message: Progress) -> None:
        """Pass a message of the part at `place` on, or keep it; wait where there is no room."""
        part = self._parts[place]
        while place != self._current:
            if len(part.kept) < KEPT_MESSAGES:
                part.kept.append(message)
                return
            part.turn.clear()
            await part.turn.wait()
        await self._pass_on_kept(part)
        await self._tell(message)

    async def end(self, place: int) -> None:
        """The part at `place` says no more."""
        self._parts[place].ended = True
        while self._current < len(self._parts) and self._parts[self._current].ended:
            await self._pass_on_kept(self._parts[self._current])
            self._current += 1
        if self._current < len(self._parts):
            part = self._parts[self._current]
            part.turn.set()
            await self._pass_on_kept(part)

    async def end_all(self) -> None:
        """The build has failed: pass on what is kept, in its order."""
        for part in self._parts[self._current :]:
            await self._pass_on_kept(part)

    async def _pass_on_kept(self, part: "Part") -> None:
        while part.kept:
            await self._tell(part.kept.pop(0))


class Part:
    """What one stage says."""

    def __init__(self, output: Output, place: int) -> None:
        self._output = output
        self._place = place
        self.kept: list[Progress] = []
        self.ended = False
        self.turn = asyncio.Event()

    async def say(self, text: str) -> None:
        """A piece of text, with whatever line ends are in it."""
        await self.message(Progress(stream=text))

    async def complain(self, text: str) -> None:
        """A piece of what a program writes to its standard error."""
        await self.message(Progress(stream=f"{_RED}{text}{_PLAIN}"))

    async def message(self, message: Progress) -> None:
        """A message as it is."""
        await self._output.tell(self._place, message)

    async def end(self) -> None:
        """No more comes."""
        await self._output.end(self._place)


async def messages(work: Callable[[Tell], Awaitable[None]]) -> AsyncGenerator[Progress, None]:
    """What `work` tells, as it comes (`registry.stream`), and no more ahead of its reader than is kept."""
    room = asyncio.Semaphore(KEPT_MESSAGES)

    async def told(emit: Emit) -> None:
        async def tell(message: Progress) -> None:
            await room.acquire()
            emit(message)

        await work(tell)

    return await stream(told, failed=_failure, taken=room.release)


def _failure(error: EngineError) -> Progress:
    return failure(str(error), code=error.code if isinstance(error, BuildFailed) else 0)
