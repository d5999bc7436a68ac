"""Starting: what is prepared side by side, the run, the record; or everything taken back."""

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.container import HostConfig
from lighterman.containers import log_plugins
from lighterman.containers.attend import attend
from lighterman.containers.files import write_files
from lighterman.containers.given_files import lay_out, take_back
from lighterman.containers.health import at_start
from lighterman.containers.host_devices import find_block_io, find_devices
from lighterman.containers.identity import Identity
from lighterman.containers.ipc import borrow_shm, give_back_shm, host_ipc
from lighterman.containers.life import Started, StartRefused
from lighterman.containers.links import names_of
from lighterman.containers.log_options import kept_file, places_in, shipped
from lighterman.containers.logs import log_facts
from lighterman.containers.lone_binds import put_away, set_apart
from lighterman.containers.merge import given
from lighterman.containers.mounts import BindMount, VolumeMount
from lighterman.containers.networking import addresses, link_variables, renew_links
from lighterman.containers.plan_start import StartPlan, plan_start
from lighterman.containers.remove import dismantle
from lighterman.containers.rootfs import find_user, make_directory
from lighterman.containers.spec import Prepared, oci_spec, seccomp_filter
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict, EngineError, InvalidParameter, System
from lighterman.lib.effects import in_thread, rollback, together
from lighterman.linux import userns
from lighterman.linux.cgroup import REALTIME_PERIOD_US, cgroup_path, grant_realtime
from lighterman.linux.host import Host
from lighterman.linux.userns import IdMap
from lighterman.networks import Sandbox
from lighterman.oci import spec as oci
from lighterman.runtime import ProcessIO, StartFailed


async def start(cs: Containers, ref: str) -> None:
    """Run the container's process.

    Raises: NoSuchContainer, RunsAlready (304), Conflict (paused), runtime.StartFailed.
    Source: ContainerStart; order of events as measured on dockerd 20.10.24.
    """
    async with cs.locked(ref) as container:
        plan = plan_start(container, cs.find)
        try:
            await run(cs, plan, restart_count=0, stopped_by_user=False)
        except EngineError:
            if container.host_config.auto_remove:
                await dismantle(cs, cs.find(container.id), volumes=True)
            raise


async def run(cs: Containers, plan: StartPlan, *, restart_count: int, stopped_by_user: bool) -> None:
    """Start what is planned, with the container's lock held; a failure is kept in its life.

    Raises: StartFailed and what the rooms below raise; then nothing is left but the record.
    """
    cs.runtime.expect()
    container = replace(
        plan.container,
        attempted=True,
        host_config=_with_runtime(cs, plan.container.host_config),
        restart_count=restart_count,
        restart_delay_s=plan.container.restart_delay_s if restart_count else 0.0,
        stopped_by_user=stopped_by_user,
        health=at_start(plan.container.config, plan.container.health),
        oom_killed=False,
    )
    try:
        async with rollback() as undo:
            facts = await _prepare(cs, plan, undo)
            container = await cs.record(container, await _run(cs, plan, facts, undo))
    except EngineError as error:
        code = error.exit_code if isinstance(error, StartFailed) else 128
        await cs.record(container, StartRefused(code, str(error)))
        raise
    cs.publish(container, "start")
    attend(cs, container)
    await renew_links(cs, container)


def _with_runtime(cs: Containers, wish: HostConfig) -> HostConfig:
    """The runtime that is used is kept, so that a change of the default moves no container."""
    return replace(wish, runtime=given(wish.runtime) or cs.default_runtime)


async def _prepare(cs: Containers, plan: StartPlan, undo: AsyncExitStack) -> Prepared:
    """Make all that the process needs around it; root, network and files side by side."""
    container = plan.container
    undo.callback(cs.live(container.id).turn_away)
    undo.push_async_callback(cs.networks.disconnect, container.id)
    id_map = cs.id_map(container)
    _check_sharing(cs, plan, id_map)
    wish = replace(plan.sandbox, id_map=id_map) if plan.sandbox else None
    sandbox = cs.networks.reserve(await cs.networks.attach(wish)) if wish else None
    undo.push_async_callback(cs.snapshots.unmount, container.id)
    (root, looked_up), _, hostname = await together(
        _root(cs, plan, id_map), _connect(cs, sandbox), in_thread(_write_files, cs, plan, sandbox, id_map)
    )
    return Prepared(
        root=root,
        netns=_netns(sandbox, plan.network_of),
        files=cs.settings.home(plan.files_of.id),
        volumes=await _mount_volumes(cs, plan, undo),
        user=looked_up.user,
        hostname=hostname,
        devices=looked_up.devices,
        device_rules=looked_up.device_rules,
        block_io=looked_up.block_io,
        bound_files=looked_up.bound_files,
        pid_namespace_pid=plan.pid_of.pid if plan.pid_of else 0,
        ipc_namespace_pid=plan.ipc_of.pid if plan.ipc_of else 0,
        borrowed_shm=await _borrow_shm(cs, plan, undo),
        set_apart=await _set_apart(cs, plan, undo),
        host_ipc=host_ipc(),
        given=await _lay_out(cs, plan, undo, id_map),
        id_map=id_map,
        cgroup_parent=plan.container.host_config.cgroup_parent or cs.settings.cgroup_parent,
        init_path=_init_path(cs, container),
        link_variables=link_variables(cs, container),
    )


def _init_path(cs: Containers, container: Container) -> str:
    """Of the init that the container's command runs under; "" for none. Raises: InvalidParameter."""
    settings = cs.settings
    wished = given(container.host_config.init)
    return settings.init_path if settings.defaults.runs_init(wished, settings.init_path) else ""


async def _mount_volumes(cs: Containers, plan: StartPlan, undo: AsyncExitStack) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for mount in plan.volumes:
        undo.push_async_callback(cs.volumes.unmount, mount.name, plan.container.id)
        found[mount.name] = await cs.volumes.mount(
            mount.name, plan.container.id, destination=mount.target, writable=not mount.read_only
        )
    return found


async def _lay_out(
    cs: Containers, plan: StartPlan, undo: AsyncExitStack, id_map: IdMap | None
) -> Mapping[str, str]:
    """The files that the swarm gives the container: place -> path."""
    container = plan.container
    if not container.files:
        return {}
    if cs.contents is None:
        raise System("secret store is not initialized")
    home = cs.settings.home(container.id)
    undo.push_async_callback(in_thread, take_back, home)
    return await in_thread(lay_out, home, container.files, cs.contents(container), id_map)


async def _borrow_shm(cs: Containers, plan: StartPlan, undo: AsyncExitStack) -> str:
    if plan.ipc_of is None:
        return ""
    home = cs.settings.home(plan.container.id)
    undo.push_async_callback(in_thread, give_back_shm, home)
    return await in_thread(borrow_shm, home, plan.ipc_of)


async def _set_apart(cs: Containers, plan: StartPlan, undo: AsyncExitStack) -> Mapping[str, str]:
    """The binds that come without what is mounted below: source -> path."""
    alone = [each.source for each in plan.mounts if isinstance(each, BindMount) and not each.recursive]
    if not alone:
        return {}
    home = cs.settings.home(plan.container.id)
    undo.push_async_callback(in_thread, put_away, home)
    return await in_thread(set_apart, home, alone)


def _write_files(cs: Containers, plan: StartPlan, sandbox: Sandbox | None, id_map: IdMap | None) -> str:
    linked = [(names_of(link), address) for link, address in addresses(cs, plan.links)]
    gateways = cs.networks.host_gateways
    owner = id_map.root if id_map else (0, 0)
    return write_files(cs.settings, plan, sandbox, host_gateways=gateways, linked=linked, owner=owner)


def _netns(sandbox: Sandbox | None, network_of: Container | None) -> str:
    """The path of the network namespace: one of its own, another container's, or "" for the host's."""
    if network_of is not None:
        return f"/proc/{network_of.pid}/ns/net"
    return sandbox.key if sandbox else ""


async def _connect(cs: Containers, sandbox: Sandbox | None) -> None:
    if sandbox is not None:
        await cs.networks.connect(sandbox)


def _check_sharing(cs: Containers, plan: StartPlan, id_map: IdMap | None) -> None:
    """Who shares another's namespaces shares its user namespace, which owns them. Raises: Conflict."""
    others = [other for other in (plan.network_of, plan.pid_of, plan.ipc_of) if other is not None]
    for other in others:
        if cs.id_map(other) != id_map:
            raise Conflict(f"cannot share namespaces of container {other.id}: its ids are mapped otherwise")
    if id_map is None or not others:
        return
    if plan.network_of is None or any(other.id != plan.network_of.id for other in others):
        raise Conflict(
            f"cannot share namespaces of container {others[0].id}: with user namespaces all of them are one "
            "container's, its network too"
        )


def _userns(plan: StartPlan, facts: Prepared, held: ExitStack) -> str:
    """The path of the user namespace: another container's, or the one that owns the network's."""
    if facts.id_map is None:
        return ""
    if plan.network_of is not None:
        return f"/proc/{plan.network_of.pid}/ns/user"
    network = os.open(facts.netns, os.O_RDONLY | os.O_CLOEXEC)
    held.callback(os.close, network)
    fd = userns.owner(network)
    held.callback(os.close, fd)
    return f"/proc/{os.getpid()}/fd/{fd}"


class _LookedUp(Struct, frozen=True):
    """What only the mounted root and the host's devices can tell."""

    user: Identity
    devices: tuple[oci.Device, ...]
    device_rules: tuple[oci.DeviceRule, ...]
    block_io: oci.BlockIO | None
    bound_files: frozenset[str]


async def _root(cs: Containers, plan: StartPlan, id_map: IdMap | None) -> tuple[Path, _LookedUp]:
    container = plan.container
    root = await cs.snapshots.mount(container.id, volatile=container.transient, id_map=id_map)
    return root, await in_thread(_look_up_as, plan, root, id_map)


def _look_up_as(plan: StartPlan, root: Path, id_map: IdMap | None) -> _LookedUp:
    """What is made on the way belongs to the container's root."""
    if id_map is None:
        return _look_up(plan, root)
    with userns.acting_as(*id_map.root):
        return _look_up(plan, root)


def _look_up(plan: StartPlan, root: Path) -> _LookedUp:
    """Find the user in the root, make the working directory and missing sources of binds. Blocks."""
    config, wish = plan.container.config, plan.container.host_config
    if config.working_dir not in ("", "/"):
        make_directory(root, config.working_dir)
    for mount in plan.mounts:
        if isinstance(mount, BindMount) and mount.create_source and not os.path.exists(mount.source):
            os.makedirs(mount.source, 0o755)
        elif isinstance(mount, VolumeMount):
            with suppress(InvalidParameter):  # a file is in the way: the runtime has words for it
                make_directory(root, mount.target)  # by crun it would be 01755, and stay in a built image
    devices, rules = find_devices(wish)
    return _LookedUp(
        user=find_user(root, config.user, wish.group_add or ()),
        devices=devices,
        device_rules=rules,
        block_io=find_block_io(wish),
        bound_files=frozenset(
            mount.source
            for mount in plan.mounts
            if isinstance(mount, BindMount) and mount.deep_read_only and not os.path.isdir(mount.source)
        ),
    )


def _grant_realtime(host: Host, wish: HostConfig, path: str) -> None:
    """Let the cgroups above have what the container asks for. Blocks. Raises: InvalidParameter."""
    try:
        grant_realtime(
            host.cgroup,
            path,
            runtime_us=wish.cpu_realtime_runtime,
            period_us=wish.cpu_realtime_period or REALTIME_PERIOD_US,
        )
    except OSError as error:
        raise InvalidParameter(
            f"cpu real-time runtime {wish.cpu_realtime_runtime} cannot be given: {error.strerror}"
        ) from error


async def _run(cs: Containers, plan: StartPlan, facts: Prepared, undo: AsyncExitStack) -> Started:
    container = plan.container
    config, wish = container.config, container.host_config
    rows, columns = wish.console_size
    told = log_facts(cs, container)
    undo.push_async_callback(log_plugins.end, cs, container)
    if wish.cpu_realtime_runtime:
        await in_thread(_grant_realtime, cs.host, wish, cgroup_path(container.id, facts.cgroup_parent))
    undo.push_async_callback(cs.runtime.delete, container.id)
    live = cs.live(container.id)
    with ExitStack() as held:
        fifo = await log_plugins.begin(cs, container, told, held)
        io = ProcessIO(
            tty=config.tty,
            stdin=config.open_stdin,
            stdin_once=config.stdin_once,
            log=kept_file(wish.log_config, told, places_in(cs.settings.home(container.id), container.id)),
            shipped=shipped(wish.log_config, told, fifo),
            size=(rows, columns) if config.tty and rows and columns else None,
            owner=facts.id_map.root if facts.id_map else (0, 0),
        )
        facts = replace(facts, userns=_userns(plan, facts, held))
        running = await cs.runtime.run(
            container.id,
            oci.encode(oci_spec(plan, facts, cs.host)),
            io,
            runtime=given(wish.runtime) or cs.settings.default_runtime,
            seccomp=seccomp_filter(container, cs.host, cs.settings.seccomp_profile),
            attached=tuple(live.waiting),
        )
    live.waiting.clear()  # they are the monitor's now
    if plan.ipc_of:
        await in_thread(give_back_shm, cs.settings.home(container.id))
    if facts.set_apart:
        await in_thread(put_away, cs.settings.home(container.id))
    return Started(running.pid, running.started_ns)
