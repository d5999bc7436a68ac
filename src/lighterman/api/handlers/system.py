"""The engine about itself, and what happens in it."""

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from msgspec import UNSET

from lighterman.api import gates, versions
from lighterman.api.decode import decode, encode
from lighterman.api.request import PLAIN_TEXT, Answer, Reply, Request, Stream, ended, reply
from lighterman.api.rooms import EngineInfo, Rooms
from lighterman.apitypes.build import BuildCache
from lighterman.apitypes.event import Event
from lighterman.apitypes.registry import AuthConfig, AuthResponse
from lighterman.apitypes.system import (
    Commit,
    Component,
    DataUsage,
    IndexInfo,
    Platform,
    PluginsInfo,
    RegistryConfig,
    RuntimeInfo,
    SwarmInfo,
    SystemInfo,
    SystemVersion,
)
from lighterman.containers import list_containers, states
from lighterman.containers.log_options import offered
from lighterman.errdefs import InvalidParameter
from lighterman.lib.effects import in_thread
from lighterman.lib.go_time import parse_timestamp, rfc3339_nano
from lighterman.lib.proxies import from_environment, without_credentials
from lighterman.linux.host import Host, LimitSupport
from lighterman.linux.mountinfo import read_mountinfo

NETWORK_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")
USAGE_KINDS = ("container", "image", "volume", "build-cache")
_HUB = "https://index.docker.io/v1/"
LISTENER_AHEAD_BYTES = 64 * 1024
"""A few hundred events: there may be thousands who listen to all of them and read none."""
LISTENER_PATIENCE_S = 60.0


async def ping(request: Request, rooms: Rooms) -> Answer:
    """SystemPing. Nothing between client and engine may keep the answer."""
    return Reply(200, b"OK", PLAIN_TEXT, _ping_headers(rooms))


async def ping_head(request: Request, rooms: Rooms) -> Answer:
    """The headers of SystemPing, by which clients choose their version."""
    return Reply(200, b"", PLAIN_TEXT, _ping_headers(rooms))


def _ping_headers(rooms: Rooms) -> dict[str, str]:
    """What clients choose by: the builder (1 is the classic one) and, since 1.42, the place in a swarm."""
    swarm = rooms.swarm.info()
    state = rooms.swarm.local_state
    if swarm is not None and state == "active":
        state += "/manager" if swarm.control_available else "/worker"
    return {
        "Builder-Version": "1",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Swarm": state,
    }


async def version(request: Request, rooms: Rooms) -> Answer:
    """SystemVersion."""
    return reply(engine_version(rooms.engine, rooms.host, rooms.runtime.version()))


def engine_version(engine: EngineInfo, host: Host, runtimes: Mapping[str, str]) -> SystemVersion:
    """What `/version` tells; `runtimes` are names and versions of the OCI runtimes found."""
    python = f"python{platform.python_version()}"  # where clients show the language of the engine
    newest, oldest = versions.text(engine.api.newest), versions.text(engine.api.oldest)
    details = {
        "ApiVersion": newest,
        "Arch": host.architecture,
        "BuildTime": engine.build_time,
        "Experimental": str(engine.experimental).lower(),
        "GitCommit": engine.git_commit,
        "GoVersion": python,
        "KernelVersion": host.kernel,
        "MinAPIVersion": oldest,
        "Os": "linux",
    }
    return SystemVersion(
        platform=Platform("Lighterman"),
        components=[
            Component("Engine", engine.version, details),
            *(Component(name, found, {"GitCommit": ""}) for name, found in runtimes.items()),
        ],
        version=engine.version,
        api_version=newest,
        min_api_version=oldest,
        git_commit=engine.git_commit,
        go_version=python,
        os="linux",
        arch=host.architecture,
        kernel_version=host.kernel,
        build_time=engine.build_time or UNSET,
    )


async def info(request: Request, rooms: Rooms) -> Answer:
    """SystemInfo."""
    backing = await in_thread(_file_system, rooms.engine.data_root)
    plugins = PluginsInfo(
        volume=["local", *await rooms.plugins.names("VolumeDriver")],
        network=sorted({*NETWORK_DRIVERS, *await rooms.plugins.names("NetworkDriver")}),
        authorization=list(rooms.engine.authorization_plugins) or None,
        log=sorted({*offered(), *await rooms.plugins.names("LogDriver")}),
    )
    told = engine_info(
        rooms,
        plugins=plugins,
        backing=backing,
        open_files=len(os.listdir("/proc/self/fd")),
        now_ns=time.time_ns(),
    )
    return reply(gates.gated(told, gates.SYSTEM_INFO, request.version))


def engine_info(
    rooms: Rooms, *, plugins: PluginsInfo, backing: str, open_files: int, now_ns: int
) -> SystemInfo:
    """What `/info` tells; `backing` is the file system below the data root."""
    engine, host, limits = rooms.engine, rooms.host, rooms.host.limits
    running, paused, stopped = states(rooms.containers)
    runtimes = rooms.runtime.version()
    return SystemInfo(
        id=engine.id,
        containers=running + paused + stopped,
        containers_running=running,
        containers_paused=paused,
        containers_stopped=stopped,
        images=len(rooms.images),
        driver="overlay2",
        driver_status=[["Backing Filesystem", backing], ["Supports d_type", "true"]],
        plugins=plugins,
        memory_limit=limits.memory_limit,
        swap_limit=limits.swap_limit,
        kernel_memory=limits.kernel_memory,
        kernel_memory_tcp=limits.kernel_memory_tcp,
        cpu_cfs_period=limits.cpu_cfs,
        cpu_cfs_quota=limits.cpu_cfs,
        cpu_shares=limits.cpu_shares,
        cpu_set=limits.cpuset,
        pids_limit=limits.pids_limit,
        ipv4_forwarding=_is_forwarding(),
        bridge_nf_iptables=host.features.bridge_nf_iptables,
        bridge_nf_ip6tables=host.features.bridge_nf_ip6tables,
        debug=engine.debug,
        n_fd=open_files,
        oom_kill_disable=limits.oom_kill_disable,
        n_goroutines=len(asyncio.all_tasks()),
        system_time=rfc3339_nano(now_ns),
        logging_driver=engine.logging_driver,
        cgroup_driver="cgroupfs",
        cgroup_version="2" if host.cgroup_mode == "v2" else "1",
        n_events_listener=rooms.events.listeners,
        kernel_version=host.kernel,
        operating_system=host.os_name,
        os_version=host.os_version,
        os_type="linux",
        architecture=host.machine,
        index_server_address=_HUB,
        registry_config=registries(engine),
        ncpu=host.ncpu,
        mem_total=host.mem_total_bytes,
        generic_resources=list(engine.generic_resources) or None,
        docker_root_dir=engine.data_root,
        http_proxy=without_credentials(from_environment("HTTP_PROXY", os.environ)),
        https_proxy=without_credentials(from_environment("HTTPS_PROXY", os.environ)),
        no_proxy=from_environment("NO_PROXY", os.environ),
        name=host.hostname,
        labels=list(engine.labels),
        experimental_build=engine.experimental,
        server_version=engine.version,
        runtimes={
            name: RuntimeInfo(path, arguments or UNSET)
            for name, (path, *arguments) in sorted(engine.runtimes.items())
        },
        default_runtime=engine.default_runtime,
        swarm=rooms.swarm.info() or SwarmInfo(),
        live_restore_enabled=True,  # containers always go on without the engine
        isolation="",
        init_binary=engine.init_path,
        containerd_commit=Commit(),
        runc_commit=Commit(*[next(iter(runtimes.values()), "")] * 2),
        init_commit=Commit(),
        security_options=security_options(host, engine),
        warnings=[*engine.warnings, *limit_warnings(limits, forwarding=_is_forwarding())] or None,
    )


def registries(engine: EngineInfo) -> RegistryConfig:
    mirrors = list(engine.registry_mirrors)
    networks = [each for each in engine.insecure_registries if "/" in each]
    hosts = [each for each in engine.insecure_registries if "/" not in each]
    return RegistryConfig(
        allow_nondistributable_artifacts_cidrs=[],
        allow_nondistributable_artifacts_hostnames=[],
        insecure_registry_cidrs=networks,
        index_configs={
            **{host: IndexInfo(host, [], secure=False, official=False) for host in hosts},
            "docker.io": IndexInfo("docker.io", mirrors, secure=True, official=True),
        },
        mirrors=mirrors,
    )


def security_options(host: Host, engine: EngineInfo) -> list[str]:
    """What confines containers that ask for nothing. Source: fillSecurityOptions of moby."""
    options = {
        "name=apparmor": host.features.apparmor,
        f"name=seccomp,profile={engine.seccomp_profile}": host.features.seccomp,
        "name=userns": engine.userns,
        "name=cgroupns": host.cgroup_mode == "v2",
        "name=no-new-privileges": engine.no_new_privileges,
    }
    return [text for text, holds in options.items() if holds]


def limit_warnings(limits: LimitSupport, *, forwarding: bool) -> list[str]:
    """What this host cannot do, in Docker's words. Source: fillSystemInfo of moby."""
    missing = {
        "No memory limit support": limits.memory_limit,
        "No swap limit support": limits.swap_limit,
        "No oom kill disable support": limits.oom_kill_disable,
        "No cpu cfs quota support": limits.cpu_cfs,
        "No cpu cfs period support": limits.cpu_cfs,
        "No cpu shares support": limits.cpu_shares,
        "No cpuset support": limits.cpuset,
        "No pids limit support": limits.pids_limit,
        "IPv4 forwarding is disabled": forwarding,
    }
    return [f"WARNING: {text}" for text, supported in missing.items() if not supported]


async def data_usage(request: Request, rooms: Rooms) -> Answer:
    """SystemDataUsage. Since 1.42 a client may ask for some kinds of objects only."""
    kinds = request.texts("type") if request.version >= (1, 42) else []
    for kind in kinds:
        if kind not in USAGE_KINDS:
            raise InvalidParameter(f"unknown object type: {kind}")
    wanted = set(kinds or USAGE_KINDS)
    layers_bytes, images = rooms.images.usage()
    told = DataUsage(
        layers_size=layers_bytes if "image" in wanted else 0,
        images=[gates.gated(one, gates.IMAGE_SUMMARY, request.version) for one in images]
        if "image" in wanted
        else None,
        containers=await list_containers(rooms.containers, all=True, size=True)
        if "container" in wanted
        else None,
        volumes=await rooms.volumes.usage() if "volume" in wanted else None,
        build_cache=await _build_cache(rooms) if "build-cache" in wanted else None,
    )
    return reply(told)


async def _build_cache(rooms: Rooms) -> list[BuildCache] | None:
    builds = await in_thread(rooms.builds)
    return await builds.usage() or None


async def auth(request: Request, rooms: Rooms) -> Answer:
    """SystemAuth. Clients of old send no type with it."""
    token = await rooms.images.log_in(decode(await request.read(), AuthConfig))
    return reply(AuthResponse("Login Succeeded", token))


def _is_forwarding() -> bool:
    """Whether the host forwards IPv4 now: `ip_forward` of the engine may have switched it on."""
    return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"


def _file_system(path: str) -> str:
    """The type of the file system that holds `path`, in Docker's spelling. Blocks for a file of /proc."""
    place = Path(path).resolve()
    mounts = [mount for mount in read_mountinfo() if place.is_relative_to(mount.point)]
    kind = max(mounts, key=lambda mount: len(str(mount.point))).type
    return "extfs" if kind in ("ext2", "ext3", "ext4") else kind


async def events(request: Request, rooms: Rooms) -> Answer:
    """SystemEvents."""
    now_ns = time.time_ns()
    since_ns, until_ns = _instant(request, "since", now_ns), _instant(request, "until", now_ns)
    if since_ns is not None and until_ns is not None and since_ns > until_ns:
        raise InvalidParameter(
            f"`since` time ({request.text('since')}) cannot be after `until` time ({request.text('until')})"
        )
    told = rooms.events.stream(request.filters(), since_ns=since_ns, until_ns=until_ns)
    return Stream(_lines(told), ahead_bytes=LISTENER_AHEAD_BYTES, patience_s=LISTENER_PATIENCE_S)


def _instant(request: Request, name: str, now_ns: int) -> int | None:
    text = request.text(name)
    try:
        return parse_timestamp(text, now_ns=now_ns) if text else None
    except ValueError as error:
        raise InvalidParameter(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


async def _lines(told: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async with ended(told):
        async for event in told:
            yield encode(event)
