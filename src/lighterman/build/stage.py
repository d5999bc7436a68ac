"""One stage, step by step: what each instruction makes of configuration, image and arguments.

A step is looked for in the cache, or made; either way its image is the parent of the next, and held until the
build has ended. Instructions that configure only need no container and no layer.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.container import ContainerConfig, HealthConfig, LogConfig
from lighterman.apitypes.image import Progress
from lighterman.apitypes.registry import Platform
from lighterman.build import mounts, transfer
from lighterman.build.cache import step_key
from lighterman.build.caches import Beginning
from lighterman.build.context import Context
from lighterman.build.outline import PlannedStage, stage_meant
from lighterman.build.output import Part
from lighterman.build.remote import is_git_source, is_url
from lighterman.build.running import RunStep, run_step
from lighterman.containers import check_mount_points, make_directory, parse_signal
from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.images import Image, Step
from lighterman.lib.dockerfile import (
    DEFAULT_SHELL,
    Add,
    Arg,
    Cmd,
    Copy,
    Healthcheck,
    Instruction,
    Maintainer,
    Run,
    RunMount,
    StopSignal,
    Transfer,
    Volume,
    Workdir,
    command_line,
    comment,
    configured,
    environment,
    expanded,
    parse_trigger,
)
from lighterman.lib.effects import in_thread

if TYPE_CHECKING:
    from lighterman.build.build import Build

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STEP_PROCESSES = 2048
"""How many processes and threads a step may have at a time: a fork bomb must not take the host's, and no
client of 1.36 can name a limit. podman has the same one."""
_SCRIPT = "/dev/pipes/script"
"""Where a heredoc that is a program is mounted. In /dev, which is memory, so nothing of it stays."""


class Built(Struct, frozen=True):
    """What a stage came to."""

    image: Image | None
    """None: it stands on nothing and has made nothing."""
    base: Image | None


class StageRun:
    """A stage as it is built."""

    def __init__(self, build: "Build", planned: PlannedStage, part: Part) -> None:
        self._build = build
        self._planned = planned
        self._part = part
        self._config = ContainerConfig()
        self._image: Image | None = None
        self._platform = Platform()
        self._arguments = build.outline.known.at_stage()
        self._author = ""
        self._has_cmd = False
        self._sources = build.cache_sources()

    async def run(self) -> Built:
        """Build it. Raises: BuildFailed, InvalidParameter, and what the rooms raise."""
        planned = self._planned
        await self._announce(planned.first_step, planned.start)
        base = await self._begin()
        await self._show_image()
        for number, instruction in enumerate(planned.instructions, planned.first_step + 1):
            await self._announce(number, instruction)
            await self._dispatch(instruction)
            await self._show_image()
        if self._image and self._build.wish.aux:
            await self._part.message(Progress(aux={"ID": self._image.id}))
        await self._part.end()
        return Built(self._image, base)

    async def _announce(self, number: int, instruction: Instruction) -> None:
        await self._part.say(f"Step {number}/{self._build.outline.steps} : {instruction.original}")
        await self._part.say("\n")

    async def _show_image(self) -> None:
        await self._part.say(f" ---> {short(self._image)}\n")

    # The beginning

    async def _begin(self) -> Image | None:
        build, planned = self._build, self._planned
        if planned.base is not None:
            base = (await build.stage(planned.base)).image
            self._platform = platform_of(base, build.host_platform)
        else:
            wanted = build.platform_wanted(planned.start.platform)
            platform = build.platform(wanted)
            base = await build.base(planned.image, wanted, self._part)
            self._platform = platform_of(base, platform)
        self._take(base)
        config = base.config if base else ContainerConfig()
        if "PATH" not in environment(config.env):
            config = replace(config, env=[*(config.env or ()), DEFAULT_PATH])
        triggers = config.on_build or []
        self._config = replace(
            config, open_stdin=False, stdin_once=False, on_build=None, image=base.id if base else ""
        )
        if triggers:
            plural = "s" if len(triggers) > 1 else ""
            await self._part.say(f"# Executing {len(triggers)} build trigger{plural}\n")
        for trigger in triggers:
            await self._dispatch(parse_trigger(trigger))
        return base

    def _take(self, image: Image | None) -> None:
        """Go on from this image."""
        self._image = image
        if image is not None:
            self._build.hold(image.id)
            self._config = replace(self._config, image=image.id)

    # The instructions

    async def _dispatch(self, instruction: Instruction) -> None:
        variables = self._arguments.variables(self._config.env)
        instruction = expanded(instruction, variables, self._build.outline.escape)
        match instruction:
            case Run():
                await self._run(instruction)
            case Transfer():
                await self._transfer(instruction)
            case Workdir():
                await self._workdir(instruction)
            case _:
                await self._configure(instruction)

    async def _configure(self, instruction: Instruction) -> None:
        match instruction:
            case Arg():
                self._arguments = self._arguments.declared(instruction)
            case Maintainer():
                self._author = instruction.maintainer
            case StopSignal():
                parse_signal(instruction.signal)
            case Healthcheck():
                await self._warn_of_check(self._config.healthcheck)
        before = self._config
        self._config = configured(before, instruction, keeps_cmd=self._has_cmd)
        if isinstance(instruction, Healthcheck):
            self._config = with_inherited_check(self._config, before)
        step = _with_labels(self._step(["#(nop) ", comment(self._config, instruction)]))

        async def make() -> Image:
            build = self._build
            if isinstance(instruction, Volume) and self._chain:
                async with build.drafts.shown(self._chain) as root:
                    await in_thread(check_mount_points, root, instruction.volumes)
            return await build.images.steps.with_settings(step, self._platform, build.holds)

        await self._take_step(step, make)
        if isinstance(instruction, Cmd) and instruction.arguments:
            self._has_cmd = True

    async def _warn_of_check(self, check: object) -> None:
        if isinstance(check, HealthConfig) and check.test and check.test[0] != "NONE":
            await self._part.say(f"Note: overriding previous HEALTHCHECK: [{' '.join(check.test)}]\n")

    async def _workdir(self, instruction: Workdir) -> None:
        self._config = configured(self._config, instruction, keeps_cmd=self._has_cmd)
        step = _with_labels(self._step([f"#(nop) {comment(self._config, instruction)}"]))

        async def make() -> Image:
            build = self._build
            async with build.drafts.draft(self._chain) as draft:
                await in_thread(make_directory, draft.root, self._config.working_dir)
                return await build.images.steps.with_draft(step, self._platform, draft, build.holds)

        await self._take_step(step, make)

    @property
    def _chain(self) -> str | None:
        return self._image.top_chain if self._image else None

    def _step(self, comment_words: Sequence[str]) -> Step:
        """The step that leaves the configuration as it is now, and this in the history."""
        shell = self._config.shell if isinstance(self._config.shell, list) else None
        command = [*(shell or DEFAULT_SHELL), *comment_words]
        return Step(
            parent=self._image.id if self._image else "",
            config=self._config,
            container_config=replace(self._config, cmd=command),
            author=self._author,
        )

    async def _take_step(
        self, step: Step, make: Callable[[], Awaitable[Image]], beside: Sequence[str] = ()
    ) -> None:
        key = step_key(step, self._platform, beside)
        image, was_there = await self._build.step(
            key, step, self._image, self._sources, make, by_history=not beside
        )
        self._take(image)  # first of all: it is held from now on
        if was_there:
            await self._part.say(" ---> Using cache\n")

    # RUN

    async def _run(self, run: Run) -> None:
        for mount in run.mounts:
            mounts.check(mount)
        command = command_line(self._config, run)
        shown = [run.script.text] if run.script else command
        counted = [*self._arguments.in_history(self._config.env), *shown]
        # `RUN []` runs what any container of the image would
        entrypoint = None if counted else self._config.entrypoint
        step = replace(
            self._step(()),
            container_config=replace(self._config, cmd=counted, entrypoint=entrypoint),
        )
        beside = [f"{name}={value}" for name, value in self._arguments.beside(self._config.env).items()]
        beside += [
            f"SSH_AUTH_SOCK={mounts.target_of(mount, self._config.working_dir)}"
            for mount in run.mounts
            if mount.kind == "ssh"
        ]
        config = replace(
            self._config,
            cmd=[_SCRIPT] if run.script else command,
            entrypoint=[""] if counted else entrypoint,
            env=[*(self._config.env or ()), *beside],
        )
        planned = RunStep(
            step=step,
            config=config,
            command=tuple(shown),
            host=replace(
                self._build.wish.host,
                log_config=LogConfig(type="none"),
                pids_limit=STEP_PROCESSES if self._build.containers.host.limits.pids_limit else None,
            ),
            platform=self._platform,
            rm=self._build.wish.rm,
            force_rm=self._build.wish.force_rm,
            holds=self._build.holds,
        )
        if self._image is None:
            raise InvalidParameter(_nothing_to_run(shown))
        told = [await self._told(mount) for mount in run.mounts]
        await self._take_step(step, lambda: self._run_with_mounts(planned, run), told)

    async def _told(self, mount: RunMount) -> str:
        """A mount as the cache knows it: with a digest of what is in it, unless the step may change that."""
        if mount.kind != "bind" and not mount.source_from:
            return mounts.told(mount)
        async with AsyncExitStack() as stack:
            looked, found = await self._mounted(mount, stack)
        return f"{mounts.told(mount)} {transfer.comment(looked, [found])}"

    async def _mounted(self, mount: RunMount, stack: AsyncExitStack) -> tuple[Copy, transfer.Found]:
        """What is in the source of a mount, as if it were to be copied."""
        looked = Copy(line=0, original="", sources=(mount.source or ".",), destination="/")
        place = await self._place(mount.source_from, stack, self._part)
        return looked, await transfer.find(self._build.workers, looked, place, looked.sources, unpack=False)

    async def _beginning(self, mount: RunMount, stack: AsyncExitStack) -> Beginning:
        """The files of a stage or an image that a cache begins with."""
        looked, found = await self._mounted(mount, stack)
        if len(found.sources) != 1:
            raise InvalidParameter(f"the source {mount.source} of a mount: not found")
        put = partial(transfer.fill, self._build.workers, found)
        return Beginning(transfer.comment(looked, [found]), put)

    async def _run_with_mounts(self, planned: RunStep, run: Run) -> Image:
        build = self._build
        async with AsyncExitStack() as stack:
            wished = []
            if run.script:
                wished.append(await build.script(stack, run.script.text, _SCRIPT))
            if run.mounts:

                async def directory(source: str) -> Path:
                    return (await self._place(source, stack, self._part)).root

                root = await stack.enter_async_context(build.drafts.shown(self._chain))
                plan = await mounts.prepared(
                    stack,
                    run.mounts,
                    working_dir=self._config.working_dir,
                    root=root,
                    place=directory,
                    lend=lambda mount, target: build.lend(stack, mount, target),
                    beginning=lambda mount: self._beginning(mount, stack),
                    drafts=build.drafts,
                    caches=build.caches,
                )
                wished += plan.mounts
                planned = replace(planned, stubs=plan.stubs)
            if wished:
                planned = replace(planned, host=replace(planned.host, mounts=wished))
            return await run_step(build.containers, planned, self._part)

    # COPY and ADD

    async def _transfer(self, instruction: Transfer) -> None:
        build = self._build
        async with AsyncExitStack() as stack:
            found = await self._found(instruction, stack)
            transfer.check(instruction, found)
            step = self._step([f"#(nop) {transfer.comment(instruction, found)}"])
            keeps_owner = isinstance(instruction, Copy) and bool(instruction.source_from)

            async def make() -> Image:
                target = absolute(self._config.working_dir, instruction.destination)
                async with build.drafts.draft(self._chain) as draft:
                    await transfer.copy(
                        build.workers, instruction, found, draft, target, keeps_owner=keeps_owner
                    )
                    return await build.images.steps.with_draft(step, self._platform, draft, build.holds)

            await self._take_step(step, make)

    async def _found(self, instruction: Transfer, stack: AsyncExitStack) -> list[transfer.Found]:
        source_from = instruction.source_from if isinstance(instruction, Copy) else ""
        is_add, found = isinstance(instruction, Add), []
        files: list[str] = []
        for source in instruction.sources:
            if is_add and is_git_source(source):
                place = await self._build.repository(stack, source)
                found.append(
                    await transfer.find(self._build.workers, instruction, place, ["."], unpack=False)
                )
            elif is_url(source):
                if not is_add:
                    raise InvalidParameter("COPY failed: source can't be a URL for COPY")
                found.append(await self._downloaded(instruction, source, stack))
            else:
                files.append(source)
        if instruction.heredocs:
            place = await self._build.texts(stack, instruction.heredocs)
            names = [heredoc.name for heredoc in instruction.heredocs]
            found.append(await transfer.find(self._build.workers, instruction, place, names, unpack=False))
        if files:
            place = await self._place(source_from, stack, self._part, transfer.word(instruction))
            found.append(await transfer.find(self._build.workers, instruction, place, files, unpack=is_add))
        return found

    async def _downloaded(self, instruction: Transfer, url: str, stack: AsyncExitStack) -> transfer.Found:
        place, name = await self._build.download(stack, url, instruction.destination, self._part)
        await self._part.say("\n")
        return transfer.of_web(
            await transfer.find(self._build.workers, instruction, place, [name], unpack=False)
        )

    async def _place(self, source_from: str, stack: AsyncExitStack, part: Part, word: str = "RUN") -> Context:
        """The root that `from` means; "" is the context."""
        build = self._build
        if not source_from:
            if build.context is None:
                raise InvalidParameter(f"{word} failed: missing build context")
            return build.context
        stage = stage_meant(source_from, self._planned.place, build.outline.names)
        if stage is not None:
            image = (await build.stage(stage)).image
        else:
            try:
                image = await build.base(source_from, build.platform_wanted(""), part)
            except EngineError as error:
                raise InvalidParameter(f"invalid from flag value {source_from}: {error}") from error
        chain = image.top_chain if image else None
        return Context(await stack.enter_async_context(build.drafts.shown(chain)))


def _nothing_to_run(command: Sequence[str]) -> str:
    """Why a command cannot be run where there are no files at all. Source: runc, by way of dockerd 20.10."""
    if not command:
        return "No command specified"
    program = command[0]
    missing = (
        f"stat {program}: no such file or directory"
        if "/" in program
        else "executable file not found in $PATH"
    )
    return (
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
        f'container process: exec: "{program}": {missing}: unknown'
    )


def _with_labels(step: Step) -> Step:
    """What dockerd has made a container for has labels, if only none."""
    config = step.container_config
    return replace(step, container_config=replace(config, labels=config.labels or {}))


def short(image: Image | None) -> str:
    """Twelve digits of an image's id; "" for none."""
    return image.id.removeprefix("sha256:")[:12] if image else ""


def platform_of(image: Image | None, otherwise: Platform) -> Platform:
    """What an image is for."""
    if image is None or not image.architecture:
        return otherwise
    return Platform(image.architecture, image.os, image.variant)


def with_inherited_check(config: ContainerConfig, before: ContainerConfig) -> ContainerConfig:
    """A check has the times of the one before it, where it names none. Source: measured, dockerd 20.10."""
    check, old = config.healthcheck, before.healthcheck
    if not isinstance(check, HealthConfig) or not isinstance(old, HealthConfig):
        return config
    inherited = HealthConfig(
        test=check.test or old.test,
        interval=check.interval or old.interval,
        timeout=check.timeout or old.timeout,
        start_period=check.start_period or old.start_period,
        retries=check.retries or old.retries,
        start_interval=check.start_interval or old.start_interval,
    )
    return replace(config, healthcheck=inherited)


def absolute(working_dir: str, destination: str) -> str:
    """Where a COPY goes; a slash at its end stays. Pure. Source: normalizeDest of moby."""
    if destination.startswith("/"):
        return destination
    joined = str(Path("/", working_dir.lstrip("/"), destination))
    clean = "/" + "/".join(_walked(joined))
    return clean + "/" if destination.endswith("/") and clean != "/" else clean


def _walked(path: str) -> list[str]:
    done: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del done[-1:]
        elif part not in ("", "."):
            done.append(part)
    return done
