"""One build: its stages side by side, and what they share.

A stage is a task; who needs it waits for it. What a stage makes or finds is held, so that nobody prunes it,
until the build has ended. The first error ends all of them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from lighterman.apitypes.container import Mount
from lighterman.apitypes.image import Progress
from lighterman.apitypes.registry import Platform
from lighterman.build import lent
from lighterman.build.cache import StepCache, continues
from lighterman.build.caches import Caches
from lighterman.build.context import Context
from lighterman.build.outline import Outline
from lighterman.build.output import Output, Part
from lighterman.build.remote import checked_out, download, parse_git_address
from lighterman.build.stage import Built, StageRun
from lighterman.build.wish import BuildWish
from lighterman.containers import Containers
from lighterman.content import Content, Workers
from lighterman.errdefs import EngineError, InvalidParameter, NotFound, System
from lighterman.images import Image, Images, Step
from lighterman.lib.dockerfile import Heredoc, RunMount, expand
from lighterman.lib.effects import in_thread
from lighterman.reference import parse_reference
from lighterman.registry import action, parse_platform
from lighterman.snapshots import Drafts

if TYPE_CHECKING:
    from lighterman.build.session import Session


class Build:
    """What the stages of a build need."""

    def __init__(
        self,
        wish: BuildWish,
        outline: Outline,
        context: Context | None,
        output: Output,
        *,
        containers: Containers,
        content: Content,
        cache: StepCache,
        caches: Caches,
        holds: ExitStack,
        session: "Session | None",
    ) -> None:
        self.wish = wish
        self.outline = outline
        self.context = context
        self.containers = containers
        self.images: Images = containers.images
        self.workers: Workers = containers.workers
        self.drafts: Drafts = containers.snapshots.drafts
        self.caches = caches
        self.host_platform = containers.images.host_platform
        self._content = content
        self._output = output
        self._cache = cache
        self.holds = holds
        self._session = session
        self._stages: dict[int, asyncio.Task[Built]] = {}
        self._bases: dict[tuple[str, str], asyncio.Lock] = {}
        self._pulled: set[tuple[str, str]] = set()

    async def run(self) -> Built:
        """Build all stages; the last one. Raises: BuildFailed, InvalidParameter, what the rooms raise."""
        stages = [StageRun(self, planned, self._output.part()) for planned in self.outline.stages]
        try:
            async with asyncio.TaskGroup() as group:
                for planned, stage in zip(self.outline.stages, stages, strict=True):
                    self._stages[planned.place] = group.create_task(stage.run())
        except BaseExceptionGroup as errors:
            await self._output.end_all()
            raise errors.exceptions[0] from None
        return self._stages[self.outline.stages[-1].place].result()

    async def stage(self, place: int) -> Built:
        """What a stage came to, once it has. Raises: NotFound for one that is not built."""
        task = self._stages.get(place)
        if task is None:  # an image's trigger asks for what its Dockerfile does not
            raise NotFound(f"invalid from flag value {place}: the stage is not built")
        await asyncio.wait([task])
        return task.result()

    def hold(self, image_id: str) -> None:
        """Keep an image until the build has ended."""
        self.holds.enter_context(self.images.steps.held(image_id))

    # What stages stand on

    def platform_wanted(self, flag: str) -> str:
        """The platform that a FROM asks for, or else the build; "" is any."""
        return expand(flag, self.outline.known.for_from(), self.outline.escape) or self.wish.platform

    def platform(self, wanted: str) -> Platform:
        """What is made of nothing is for this. Raises: InvalidParameter."""
        try:
            return platform_meant(wanted, self.host_platform)
        except InvalidParameter as error:
            raise InvalidParameter(f"failed to parse platform {wanted}: {error}") from error

    async def base(self, name: str, platform: str, part: Part) -> Image | None:
        """The image of a name, pulled if it is not here or if a build has to; None is `scratch`.

        Raises: NotFound, Unauthorized, InvalidParameter, System.
        """
        if name == "scratch":
            return None
        key = (name, platform)
        async with self._bases.setdefault(key, asyncio.Lock()):
            if not self.wish.pull or key in self._pulled:
                try:
                    return self.images.find(name, platform=platform)
                except NotFound:
                    pass
            await self._pull(name, platform, part)
            self._pulled.add(key)
            return self.images.find(name)

    async def _pull(self, name: str, platform: str, part: Part) -> None:
        reference = parse_reference(name).with_default_tag()
        auth = self.wish.auth_for(reference)
        if auth is None and self._session is not None:
            from lighterman.build.session import lends  # gRPC weighs

            auth = await lends.credentials(self._session, reference.domain)
        pulled = await self.images.pull(str(reference), platform=platform, auth=auth)
        try:
            async for message in pulled:
                if isinstance(message.error, str):
                    raise System(message.error)
                await part.message(message)
        finally:
            await pulled.aclose()

    # Steps that were made before

    def cache_sources(self) -> list[Image] | None:
        """The images that a stage may find its steps in; None: what was made here."""
        if not any(self.wish.cache_from):
            return None
        found = []
        for ref in self.wish.cache_from:
            try:
                found.append(self.images.find(ref))
            except NotFound:
                continue
        return found

    async def step(
        self,
        key: str,
        step: Step,
        parent: Image | None,
        sources: list[Image] | None,
        make: Callable[[], Awaitable[Image]],
        *,
        by_history: bool,
    ) -> tuple[Image, bool]:
        """The image of a step, and whether it was there. `sources` are left with what may still be found."""
        if self.wish.no_cache:
            return await self._cache.made(key, make), False
        if sources is None:
            return await self._cache.once(key, make)
        image = self._cache.find(key)
        if image is not None and any(self._descends(source, image) for source in sources):
            return image, True
        image = await self._from_history(step, parent, sources) if by_history else None
        if image is not None:
            return image, True
        sources.clear()  # what comes after a step that is new is new
        return await self._cache.made(key, make), False

    async def _from_history(self, step: Step, parent: Image | None, sources: list[Image]) -> Image | None:
        comment = " ".join(step.container_config.cmd or ())
        for target in sources:
            if not continues(target, parent, comment):
                continue
            done = len(parent.document.history) if parent else 0
            if len(target.document.history) == done + 1:
                return target
            sources[:] = [target]  # never from one to another
            return await self.images.steps.restored(parent, target, step)
        return None

    def _descends(self, image: Image, from_image: Image) -> bool:
        parent = image.parent
        while parent and parent != from_image.id:
            try:
                parent = self.images.find(parent).parent
            except NotFound:
                return False
        return bool(parent)

    # Files that are nobody else's

    async def script(self, stack: AsyncExitStack, text: str, target: str) -> Mount:
        """A program in the Dockerfile, to be mounted at `target` until `stack` ends."""
        directory = await self._directory(stack)
        await in_thread(_write, directory / "script", text, 0o755)
        return Mount(type="bind", source=str(directory / "script"), target=target, read_only=True)

    async def texts(self, stack: AsyncExitStack, heredocs: Sequence[Heredoc]) -> Context:
        """A place with the files that are written in the Dockerfile, until `stack` ends."""
        directory = await self._directory(stack)
        for heredoc in heredocs:
            await in_thread(_write, directory / heredoc.name, heredoc.text, 0o644)
        return Context(directory)

    async def _directory(self, stack: AsyncExitStack) -> Path:
        directory = await in_thread(self._content.new_ingest)
        stack.push_async_callback(in_thread, self._content.discard, directory)
        return directory

    async def download(
        self, stack: AsyncExitStack, url: str, destination: str, part: Part
    ) -> tuple[Context, str]:
        """A place with what lies at `url`, until `stack` ends, and what it is called there.

        Raises: InvalidParameter, NotFound, System.
        """
        directory = await self._directory(stack)

        async def tell(current: int, total: int) -> None:
            await part.message(action("Downloading", "", current, total))

        try:
            found = await download(url, directory, tell)
        except EngineError as error:
            raise type(error)(f"ADD failed: {error}") from error
        if not found.named and destination.endswith("/"):
            raise InvalidParameter(f"ADD failed: cannot determine filename for source {url}")
        return Context(directory), found.path.name

    async def repository(self, stack: AsyncExitStack, address: str) -> Context:
        """A place with the files of a repository, until `stack` ends. Raises: InvalidParameter, System."""
        checked = checked_out(parse_git_address(address), self._content, keep_git=False)
        return Context(await stack.enter_async_context(checked))

    async def lend(self, stack: AsyncExitStack, mount: RunMount, target: str) -> Mount | None:
        """What the client lends a step, until `stack` ends. Raises: InvalidParameter, System."""
        return await lent.lent(stack, self._session, self._content, mount, target)


def platform_meant(wanted: str, host: Platform) -> Platform:
    """The platform of a text; "" is the host's. Raises: InvalidParameter."""
    return parse_platform(wanted, host=host) if wanted else host


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
    os.utime(path, (0, 0))  # the same text is the same file


def aux(image: Image) -> Progress:
    """An image's id as a value."""
    return Progress(aux={"ID": image.id})
