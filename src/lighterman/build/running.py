"""RUN: a container of the engine, its output as it comes, and the image of what it has written.

The container is transient: an engine that is killed meanwhile leaves nothing, the next one removes it.
"""

import asyncio
import codecs
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lighterman import containers
from lighterman.apitypes.container import (
    ContainerConfig,
    ContainerCreateBody,
    HealthConfig,
    HostConfig,
    Mount,
)
from lighterman.apitypes.registry import Platform
from lighterman.build.output import BuildFailed, Part
from lighterman.containers import AttachOptions, Containers
from lighterman.errdefs import EngineError, InvalidParameter, NotFound
from lighterman.images import CommitWish, Image, Step
from lighterman.lib.effects import to_end, together
from lighterman.lib.frames import STDERR, FrameReader
from lighterman.linux.userns import IdMap
from lighterman.runtime import Client

_READ_BYTES = 1 << 16
_NO_CHECK = HealthConfig(test=["NONE"])


class RunStep(Struct, frozen=True):
    """What is run, and what becomes of it."""

    step: Step
    """Of the image; its container's id is still to come."""
    config: ContainerConfig
    """What the program is run with."""
    command: tuple[str, ...]
    """As an error tells it."""
    host: HostConfig
    platform: Platform
    rm: bool
    force_rm: bool
    holds: ExitStack
    """What keeps the image from being removed."""
    stubs: tuple[bytes, ...] = ()


async def run_step(cs: Containers, run: RunStep, part: Part) -> Image:
    """Run it to its end. Raises: BuildFailed with its exit code, and what the container's rooms raise."""
    id_map, wished = cs.settings.id_map, run.host.mounts
    if id_map is None or not isinstance(wished, list):
        return await _run_step(cs, run, part)
    async with AsyncExitStack() as stack:
        mounts = [await _shown(cs, mount, id_map, stack) for mount in wished]
        return await _run_step(cs, replace(run, host=replace(run.host, mounts=mounts)), part)


async def _shown(cs: Containers, mount: Mount, id_map: IdMap, stack: AsyncExitStack) -> Mount:
    """The mount with owners as the container has them; what is only read may stay nobody's.

    Raises: InvalidParameter: it is to be written, and lies where owners cannot be shown otherwise.
    """
    if mount.type != "bind":
        return mount
    try:
        place = await stack.enter_async_context(cs.snapshots.shown(Path(mount.source), id_map))
    except OSError as error:
        if mount.read_only:
            return mount
        raise InvalidParameter(
            f"the mount at {mount.target} cannot be written with userns-remap: {error.strerror}"
        ) from error
    return replace(mount, source=str(place))


async def _run_step(cs: Containers, run: RunStep, part: Part) -> Image:
    body = _body(run)
    made = await containers.create(cs, body, transient=True)
    short = made.id[:12]
    try:
        for warning in made.warnings:
            await part.say(f" ---> [Warning] {warning}\n")
        await part.say(f" ---> Running in {short}\n")
        code = await _run(cs, made.id, part)
        if code:
            command = " ".join(run.command)
            raise BuildFailed(f"The command '{command}' returned a non-zero code: {code}", code)
        step = replace(
            run.step,
            container_id=made.id,
            container_config=replace(run.step.container_config, hostname=short),
        )
        if run.rm or run.force_rm:
            return await _moved(cs, run, step, part)
        image = await _copied(cs, step)
        await containers.keep(cs, made.id)
        return image
    except EngineError:
        if run.force_rm:
            await _remove(cs, made.id)
            await part.say(f"Removing intermediate container {short}\n")
        else:
            await containers.keep(cs, made.id)
        raise
    except BaseException:
        await to_end(_remove(cs, made.id))
        raise


def _body(run: RunStep) -> ContainerCreateBody:
    config = replace(run.config, healthcheck=_NO_CHECK, image=run.step.parent)
    fields = {name: getattr(config, name) for name in ContainerConfig.__struct_fields__}
    return ContainerCreateBody(**fields, host_config=run.host)


async def _moved(cs: Containers, run: RunStep, step: Step, part: Part) -> Image:
    """The image of the container's own files; nothing of it is left."""
    image = await cs.images.steps.with_files_of(step, run.platform, run.stubs, run.holds)
    await _remove(cs, step.container_id)
    await part.say(f"Removing intermediate container {step.container_id[:12]}\n")
    return image


async def _copied(cs: Containers, step: Step) -> Image:
    """The image of a copy: the container stays, and its files with it."""
    async with cs.locked(step.container_id) as container:
        upper = Path(cs.snapshots.dirs(container.id)["UpperDir"])
        wish = CommitWish(
            upper=upper,
            parent=step.parent,
            config=step.config,
            container_id=step.container_id,
            container_config=step.container_config,
            author=step.author,
        )
        return await cs.images.commit(wish, None)


async def _run(cs: Containers, container_id: str, part: Part) -> int:
    """Start the container and tell what it says; its exit code. Killed when it is cancelled."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)

        async def take() -> Client:
            return Client(theirs, b"", b"")

        await containers.attach(cs, container_id, AttachOptions(stream=True, stdout=True, stderr=True), take)
        ended = asyncio.ensure_future(containers.wait(cs, container_id, "next-exit"))
        try:
            await together(containers.start(cs, container_id), _relay(ours, part))
            return (await ended).status_code
        finally:
            ended.cancel()


async def _relay(stream: socket.socket, part: Part) -> None:
    """Tell everything that comes until its end."""
    loop, frames = asyncio.get_running_loop(), FrameReader()
    decoders = {place: codecs.getincrementaldecoder("utf-8")("replace") for place in (0, 1, 2)}
    while data := await loop.sock_recv(stream, _READ_BYTES):
        for place, payload in _joined(frames.feed(data)):
            if text := decoders[place].decode(payload):
                await (part.complain(text) if place == STDERR else part.say(text))


def _joined(frames: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Frames of one stream that follow each other as one."""
    joined: list[tuple[int, bytes]] = []
    for place, payload in frames:
        if joined and joined[-1][0] == place:
            joined[-1] = (place, joined[-1][1] + payload)
        else:
            joined.append((place, payload))
    return joined


async def _remove(cs: Containers, container_id: str) -> None:
    with suppress(NotFound):  # somebody was faster
        await containers.remove(cs, container_id, force=True, volumes=True)
