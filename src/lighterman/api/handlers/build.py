"""Builds: ImageBuild and BuildPrune. The room is loaded by the first who asks for it."""

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypeVar

import msgspec

from lighterman.api import errors
from lighterman.api.decode import decode
from lighterman.api.queries import integer
from lighterman.api.request import Answer, Request, Stream, ended, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.container import HostConfig, Ulimit
from lighterman.apitypes.image import Progress, failure
from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.lib.effects import in_thread

if TYPE_CHECKING:
    from lighterman.build import BuildWish  # not above: most engines never build

T = TypeVar("T")


async def build(request: Request, rooms: Rooms) -> Answer:
    """ImageBuild. The label of the body is not looked at: clients send several."""
    builds = await in_thread(rooms.builds)
    wish = build_wish(request, experimental=rooms.engine.experimental)
    return Stream(_lines(await builds.build(wish, request.chunks())))


async def _lines(messages: AsyncIterator[Progress]) -> AsyncIterator[bytes]:
    """Progress as the wire has it; a failure is the last message, since the head is sent already."""
    try:
        async with ended(messages):
            async for message in messages:
                yield msgspec.json.encode(message) + b"\r\n"
    except Exception as error:  # the border: here errors become answers
        errors.status_of(error)
        yield msgspec.json.encode(failure(str(error))) + b"\r\n"


async def prune(request: Request, rooms: Rooms) -> Answer:
    """BuildPrune. `all`, `keep-storage` and `filters` are of later versions, and read whatever is spoken."""
    kept = request.text("keep-storage") or "0"
    try:
        keep_bytes = integer(kept)
    except InvalidParameter as error:
        raise InvalidParameter(
            f"keep-storage is in bytes and expects an integer, got {kept}: {error}"
        ) from error
    pruned = await (await in_thread(rooms.builds)).prune(
        request.filters(), keep_bytes=keep_bytes, all=request.flag("all")
    )
    return reply(pruned)


def build_wish(request: Request, *, experimental: bool) -> "BuildWish":
    """What the query asks for. Raises: InvalidParameter."""
    from lighterman.build import BuildWish  # not above: most engines never build

    _refuse(request, experimental=experimental)
    force_rm = request.flag("forcerm")
    return BuildWish(
        dockerfile=request.text("dockerfile") or "Dockerfile",
        tags=tuple(request.texts("t")),
        remote=request.text("remote"),
        session=request.text("session") if experimental or request.version >= (1, 39) else "",
        quiet=request.flag("q"),
        no_cache=request.flag("nocache"),
        cache_from=tuple(_json(request, "cachefrom", list[str]) or ()),
        pull=request.flag("pull"),
        rm=force_rm or not request.text("rm") or request.flag("rm"),
        force_rm=force_rm,
        squash=request.flag("squash"),
        build_args=_json(request, "buildargs", dict[str, str | None], "error reading build args: ") or {},
        labels=_json(request, "labels", dict[str, str], "error reading labels: ") or {},
        target=request.text("target"),
        platform=request.text("platform") if request.version >= (1, 32) else "",
        host=_host(request),
        auths=_credentials(request),
        aux=request.version >= (1, 30),
    )


def _refuse(request: Request, *, experimental: bool) -> None:
    """What no build here can have. Raises: InvalidParameter."""
    if request.texts("securityopt"):
        raise InvalidParameter(
            "The daemon on this platform does not support setting security options on build"
        )
    if request.text("remote") == "client-session" and not experimental:
        raise InvalidParameter(
            "experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) "
            "instead"
        )
    if request.flag("squash") and not experimental:
        raise InvalidParameter("squash is only supported with experimental mode")
    if (version := request.text("version")) not in ("", "1"):
        if version == "2":
            raise InvalidParameter(
                "BuildKit is not available in this engine: use version=1, the classic builder"
            )
        raise InvalidParameter(f'invalid version "{version}"')
    if request.version >= (1, 40) and request.text("outputs") not in ("", "[]", "null"):
        raise InvalidParameter("outputs are only supported by BuildKit")


def _host(request: Request) -> HostConfig:
    """How the containers of steps run."""
    ulimits = _json(request, "ulimits", list[Ulimit], "error reading ulimit settings: ")
    isolation = request.text("isolation")
    if isolation not in ("", "default"):
        raise InvalidParameter(f'Unsupported isolation: "{isolation}"')
    return HostConfig(
        cpu_shares=_number(request, "cpushares"),
        memory=_number(request, "memory"),
        memory_swap=_number(request, "memswap"),
        cpu_period=_number(request, "cpuperiod"),
        cpu_quota=_number(request, "cpuquota"),
        cpuset_cpus=request.text("cpusetcpus"),
        cpuset_mems=request.text("cpusetmems"),
        cgroup_parent=request.text("cgroupparent"),
        ulimits=ulimits or None,
        network_mode=request.text("networkmode"),
        shm_size=_number(request, "shmsize"),
        extra_hosts=request.texts("extrahosts") or None,
        isolation=isolation,
    )


def _number(request: Request, name: str) -> int:
    return request.integer(name) if request.text(name) else 0


def _json(request: Request, name: str, kind: type[T], complaint: str = "") -> T | None:
    """A query's value as JSON; None when it is not there or null. Raises: InvalidParameter."""
    text = request.text(name)
    if not text:
        return None
    try:
        return decode(text.encode(), kind)
    except EngineError as error:
        raise InvalidParameter(f"{complaint}{error}") from error


def _credentials(request: Request) -> dict[str, AuthConfig]:
    """What X-Registry-Config holds; like dockerd, a build goes on without when it cannot be read."""
    header = request.headers.get("X-Registry-Config", "")
    try:
        text = urlsafe_b64decode(header + "=" * (-len(header) % 4))
        return msgspec.json.decode(text, type=dict[str, AuthConfig]) if text else {}
    except ValueError:
        return {}
