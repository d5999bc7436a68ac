"""The room's one service: builds, and what they leave to be found again."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing

from lighterman.apitypes.build import BuildCache, BuildPruned
from lighterman.apitypes.image import Progress
from lighterman.build.build import Build, aux, platform_meant
from lighterman.build.cache import StepCache
from lighterman.build.caches import Caches
from lighterman.build.collect import Rule
from lighterman.build.context import (
    DOCKERFILE_MAX_BYTES,
    Context,
    leave_out_ignored,
    received,
    take_dockerfile,
)
from lighterman.build.outline import Outline, outline, platform_arguments
from lighterman.build.output import Output, Part, Tell, messages
from lighterman.build.prune import kept, prune, take_away
from lighterman.build.remote import opened_context
from lighterman.build.session import Session, Sessions
from lighterman.build.stage import Built, short
from lighterman.build.wish import BuildWish
from lighterman.containers import Containers
from lighterman.content import Content
from lighterman.db import Database
from lighterman.errdefs import InvalidParameter
from lighterman.images import Image
from lighterman.lib.background import Background
from lighterman.lib.dockerfile import Arg, Dockerfile, parse
from lighterman.lib.effects import in_thread
from lighterman.lib.filters import Filters
from lighterman.reference import Reference

log = logging.getLogger(__name__)
CLIENT_SESSION = "client-session"


class Builds:
    """The builds of one engine."""

    def __init__(
        self, containers: Containers, content: Content, db: Database, rules: Sequence[Rule] = ()
    ) -> None:
        self._rules = rules
        """What may be kept of builds; () is everything."""
        self._background, self._collecting = Background(), asyncio.Lock()
        self._containers = containers
        self._content = content
        self.cache = StepCache(db, containers.images)
        self.caches = Caches(db, content, containers.workers)
        self.sessions = Sessions(content)

    async def close(self) -> None:
        """End all sessions."""
        await self._background.close(cancel=True)
        await self.sessions.close()

    async def build(self, wish: BuildWish, body: AsyncIterator[bytes]) -> AsyncGenerator[Progress, None]:
        """Make an image of a Dockerfile and its context. Awaited until the first step is told.

        What fails before raises (InvalidParameter, System); what fails after is the last message. Closing the
        stream ends the build, and nothing of it is left but the steps that went well. Source: ImageBuild.
        """
        names = wish.names()

        async def work(tell: Tell) -> None:
            try:
                await told(tell)
            finally:
                if self._rules:
                    self._background.start(self.collect)

        async def told(tell: Tell) -> None:
            if not wish.quiet:
                await self._build(wish, names, body, tell)
                return
            said: list[Progress] = []

            async def keep(message: Progress) -> None:
                said.append(message)

            try:
                image = await self._build(wish, names, body, keep)
            except Exception:
                for message in said:
                    await tell(message)
                raise
            await tell(Progress(stream=f"{image.id}\n"))

        return await messages(work)

    async def collect(self) -> None:
        """Bring what is kept within the rules; a build that has ended meanwhile waits its turn."""
        async with self._collecting:
            began_s, reclaimed = time.monotonic(), 0
            for rule in self._rules:
                there = self._containers, self.cache, self.caches
                pruned = await take_away(*there, rule.filters, keep_bytes=rule.keep_bytes, all=rule.all)
                reclaimed += pruned.space_reclaimed
            duration_ms = (time.monotonic() - began_s) * 1e3
            log.info("op=collect-builds reclaimed_bytes=%d duration_ms=%.0f", reclaimed, duration_ms)

    async def usage(self) -> list[BuildCache]:
        """What a later build can use again. Raises: System."""
        return [each.told for each in await kept(self._containers, self.cache, self.caches)]

    async def prune(self, filters: Filters, *, keep_bytes: int = 0, all: bool = False) -> BuildPruned:
        """Remove what no image with a name needs. Raises: InvalidParameter, System. Source: BuildPrune."""
        return await prune(self._containers, self.cache, self.caches, filters, keep_bytes=keep_bytes, all=all)

    async def _build(
        self, wish: BuildWish, names: list[Reference], body: AsyncIterator[bytes], tell: Tell
    ) -> Image:
        async with AsyncExitStack() as stack:
            session = await self._session(stack, wish)
            context, text = await self._source(stack, wish, body, session)
            dockerfile = await in_thread(parse, text, wish.dockerfile)
            builder = self._containers.images.host_platform
            platforms = platform_arguments(builder, platform_meant(wish.platform, builder))
            planned = outline(dockerfile, wish.build_args, wish.labels, wish.target, platforms)
            output, holds = Output(tell), stack.enter_context(ExitStack())
            build = Build(
                wish,
                planned,
                context,
                output,
                containers=self._containers,
                content=self._content,
                cache=self.cache,
                caches=self.caches,
                holds=holds,
                session=session,
            )
            await _tell_beginning(output.part(), dockerfile, planned)
            built = await build.run()
            return await self._finish(wish, names, planned, built, output.part())

    async def _session(self, stack: AsyncExitStack, wish: BuildWish) -> Session | None:
        if not wish.session:
            return None
        return await stack.enter_async_context(self.sessions.get(wish.session))

    async def _source(
        self, stack: AsyncExitStack, wish: BuildWish, body: AsyncIterator[bytes], session: Session | None
    ) -> tuple[Context | None, bytes]:
        """The context, and the text of the Dockerfile."""
        workers = self._containers.workers
        if wish.remote == CLIENT_SESSION:
            body = await self._lent_context(stack, session)
        elif wish.remote:
            remote = await stack.enter_async_context(opened_context(wish.remote, self._content, workers))
            if remote.is_dockerfile:
                return None, await _text(remote.chunks)
            body = remote.chunks
        context = await stack.enter_async_context(received(self._content, workers, body))
        if wish.remote:  # no client has left anything out
            await in_thread(leave_out_ignored, context, wish.dockerfile)
        return context, await in_thread(take_dockerfile, context, wish.dockerfile)

    async def _lent_context(self, stack: AsyncExitStack, session: Session | None) -> AsyncIterator[bytes]:
        if session is None:
            raise InvalidParameter("remote=client-session needs the id of a session")
        from lighterman.build.session.files import context_archive  # gRPC weighs

        return await stack.enter_async_context(aclosing(context_archive(session)))

    async def _finish(
        self, wish: BuildWish, names: list[Reference], planned: Outline, built: Built, part: Part
    ) -> Image:
        images = self._containers.images
        declared = frozenset(
            name
            for instruction in (
                *planned.arguments,
                *(each for stage in planned.stages for each in stage.instructions),
            )
            if isinstance(instruction, Arg)
            for name, _ in instruction.arguments
        )
        if unused := planned.known.unused(declared):
            await part.say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        image = built.image
        if image is None:
            raise InvalidParameter("No image was generated. Is your Dockerfile empty?")
        if wish.squash:
            image = await images.steps.squashed(image, built.base)
            if wish.aux:
                await part.message(aux(image))
        await self.cache.mark_result(image.id)
        await part.say(f"Successfully built {short(image)}\n")
        for name in names:
            await images.tag(image.id, str(name))
            await part.say(f"Successfully tagged {name.familiar()}\n")
        return image


async def _text(chunks: AsyncIterator[bytes]) -> bytes:
    """A Dockerfile that is all of a context."""
    text = bytearray()
    async for chunk in chunks:
        text += chunk
        if len(text) > DOCKERFILE_MAX_BYTES:
            raise InvalidParameter(f"the Dockerfile is larger than {DOCKERFILE_MAX_BYTES} bytes")
    return bytes(text)


async def _tell_beginning(part: Part, dockerfile: Dockerfile, planned: Outline) -> None:
    if dockerfile.warnings:
        await part.complain("\n".join(dockerfile.warnings) + "\n")
    for number, arg in enumerate(planned.arguments, 1):
        await part.say(f"Step {number}/{planned.steps} : {arg.original}")
        await part.say("\n")
    await part.end()
