"""Every room, built by hand, once, in the order in which they know each other.

Start-up is recovery: the rooms read their rows, then the kernel is compared with what they say, from the
processes up (runtime, networks, snapshots, volumes, containers). There is no other start-up.

A lower room speaks upward by callables that are handed in here. Since containers are built last, `Upward`
stands in for them; what ends before they are known waits.
"""

import asyncio
import gc
import hashlib
import logging
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lighterman import __version__, containers
from lighterman.api import EngineInfo, Rooms, versions
from lighterman.apitypes.container import LogConfig
from lighterman.containers import Container, Containers, Settings, resolve_log_config
from lighterman.containers.log_drivers import Expected
from lighterman.content import Content, Workers
from lighterman.daemon.config import EngineConfig
from lighterman.daemon.container_defaults import container_defaults, seccomp_profile
from lighterman.daemon.generic_resources import generic_resources
from lighterman.daemon.listeners import TcpHost, exposures, parse_hosts
from lighterman.daemon.process import close_to_others
from lighterman.daemon.remap import id_map_of
from lighterman.daemon.validation import conflict_free_labels, subnet_of
from lighterman.db import Database, Rows
from lighterman.events import Events
from lighterman.images import Images, ImageUser, Limits
from lighterman.lib.effects import in_thread
from lighterman.lib.once import Once
from lighterman.linux import apparmor
from lighterman.linux.host import Host, probe_host
from lighterman.linux.process import raise_open_files
from lighterman.linux.userns import IdMap
from lighterman.networks import DEFAULT_POOLS, AddressPool, NetworkConfig, Networks
from lighterman.oci.apparmor import DEFAULT_PROFILE, default_profile
from lighterman.plugins import Plugins, Surroundings
from lighterman.registry import LOOPBACK, Registry
from lighterman.runtime import Exit, Running, Runtime
from lighterman.snapshots import Snapshots
from lighterman.swarm import Engine, Swarm
from lighterman.volumes import Volumes

if TYPE_CHECKING:
    from lighterman.build import Builds

log = logging.getLogger(__name__)
_FACTS: Rows[str] = Rows("facts", str)


class Upward:
    """What lower rooms may ask or tell the containers, before these exist."""

    def __init__(self) -> None:
        self._containers: asyncio.Future[Containers] = asyncio.get_running_loop().create_future()
        self._rows: Iterable[Container] = ()
        self.plugins: Plugins | None = None
        self.users_of_driver: list[Callable[[str], Sequence[str]]] = []
        """Of rooms: who, there, uses the plugin of this name."""

    def read(self, cs: Containers) -> None:
        """The rows are read: who uses what can be asked, while the recovery goes on."""
        self._rows = cs

    def known(self, cs: Containers) -> None:
        """From now on the containers are `cs`, recovered; what waited goes on."""
        self._containers.set_result(cs)

    def image_users(self, image_id: str) -> Sequence[ImageUser]:
        """The containers made from an image."""
        return [
            ImageUser(container_id=container.id, name=container.name, running=container.runs)
            for container in self._rows
            if container.image_id == image_id
        ]

    def volume_users(self, name: str) -> Sequence[str]:
        """The ids of the containers that refer to a volume."""
        return [
            container.id
            for container in self._rows
            if any(mounted.name == name for mounted in container.mounts)
        ]

    def plugin_users(self, name: str) -> Sequence[str]:
        """Volumes, networks and containers that need the plugin of this name."""
        return [user for users in self.users_of_driver for user in users(name)]

    def logging_to(self, driver: str) -> Sequence[str]:
        """The ids of the containers that run and log to a driver."""
        return [
            container.id
            for container in self._rows
            if container.runs and container.host_config.log_config.type == driver
        ]

    async def on_exit(self, container_id: str, end: Exit) -> None:
        """A container's process has ended, or a plugin's."""
        if self.plugins is not None and container_id in self.plugins:
            await self.plugins.on_exit(container_id, end)
            return
        await containers.on_exit(await asyncio.shield(self._containers), container_id, end)

    async def on_exec_exit(self, container_id: str, exec_id: str, end: Exit) -> None:
        """An exec's process has ended."""
        await containers.on_exec_exit(await asyncio.shield(self._containers), container_id, exec_id, end)

    def on_detach(self, container_id: str) -> None:
        """A client has left by its detach keys."""
        self._containers.add_done_callback(lambda known: containers.on_detach(known.result(), container_id))


class Wired:
    """The rooms, and how they are brought to work by another configuration while they are open."""

    def __init__(self, rooms: Rooms, registry: Registry) -> None:
        self.rooms = rooms
        self._registry = registry

    async def configure(self, config: EngineConfig) -> None:
        """Let the rooms work by `config` from now on: what is under way goes on as it began."""
        rooms = self.rooms
        await rooms.runtime.offer(runtime_commands(config))
        rooms.containers.settings = container_settings(config, rooms.containers.settings.id_map)
        rooms.images.limit(transfer_limits(config))
        rooms.volumes.trash_s = config.volume_trash
        self._registry.configure(insecure=insecure_registries(config), mirrors=config.registry_mirrors)
        self.rooms = replace(rooms, engine=engine_info(config, rooms.engine.id, rooms.runtime))


@asynccontextmanager
async def wired(config: EngineConfig) -> AsyncIterator[Wired]:
    """All rooms, recovered and ready to serve; they are closed, last first, when the block ends.

    Raises: EngineError when a room cannot start.
    """
    data_root, exec_root = Path(config.data_root), Path(config.exec_root)
    id_map = await in_thread(id_map_of, config.userns_remap)
    host, upward = await in_thread(_confining, probe_host()), Upward()
    async with AsyncExitStack() as opened:
        db = Database(data_root / "state.db")
        await in_thread(close_to_others, data_root / "containers")
        opened.callback(db.close)
        events = Events(db)
        runtime = await Runtime.open(
            exec_root=exec_root,
            data_root=data_root,
            host=host,
            default_runtime=config.default_runtime or None,
            runtimes=runtime_commands(config),
            on_exit=upward.on_exit,
            on_exec_exit=upward.on_exec_exit,
            on_detach=upward.on_detach,
            meanwhile=gc.collect,  # what the imports left: a tenth of the start
        )
        opened.push_async_callback(runtime.close)
        raise_open_files()  # a few for each container; what runs in them comes from the zygote, begun before
        workers = Workers()
        opened.push_async_callback(workers.close)
        content = Content(data_root)
        snapshots = Snapshots(content, db, workers)
        opened.push_async_callback(snapshots.close)
        if id_map is not None:
            await snapshots.try_map(id_map)
        registry = Registry(insecure=insecure_registries(config), mirrors=config.registry_mirrors)
        images = await Images.open(
            db=db,
            events=events,
            content=content,
            snapshots=snapshots,
            workers=workers,
            registry=registry,
            users=upward.image_users,
            limits=transfer_limits(config),
        )
        plugins = upward.plugins = Plugins(
            Surroundings(
                db=db,
                events=events,
                content=content,
                workers=workers,
                snapshots=snapshots,
                registry=registry,
                runtime=runtime,
                host=host,
                exec_root=exec_root,
                users=upward.plugin_users,
                lease=images.lease,
                version=__version__,
                cgroup_parent=config.cgroup_parent,
                directories=tuple(map(Path, config.plugin_directories)),
                timeout_s=config.plugin_timeout,
            )
        )
        opened.push_async_callback(plugins.close)
        networks = await Networks.open(
            db=db,
            events=events,
            exec_root=exec_root,
            config=network_config(config),
            drivers=plugins,
        )
        opened.push_async_callback(networks.close)
        volumes = await Volumes.open(
            root=data_root / "volumes",
            db=db,
            events=events,
            users=upward.volume_users,
            workers=workers,
            driver=plugins.volume_driver,
            driver_names=partial(plugins.names, "VolumeDriver"),
        )
        volumes.trash_s = config.volume_trash
        volumes.owner = id_map.root if id_map else (0, 0)
        opened.push_async_callback(volumes.close)
        cs = Containers(
            db=db,
            events=events,
            images=images,
            networks=networks,
            volumes=volumes,
            snapshots=snapshots,
            workers=workers,
            runtime=runtime,
            host=host,
            settings=container_settings(config, id_map),
            log_driver=plugins.log_driver,
        )
        opened.push_async_callback(cs.close)
        upward.read(cs)
        upward.users_of_driver += [volumes.users_of_driver, networks.users_of_driver, upward.logging_to]
        await _recover(cs, plugins)
        upward.known(cs)
        swarm = Swarm(swarm_engine(config, cs, plugins))
        opened.push_async_callback(swarm.close)
        await swarm.open()
        builds = Once(lambda: _builds(config, cs, content, db))
        opened.push_async_callback(_close, builds)
        rooms = Rooms(
            containers=cs,
            images=images,
            networks=networks,
            volumes=volumes,
            plugins=plugins,
            events=events,
            runtime=runtime,
            swarm=swarm,
            host=host,
            engine=engine_info(config, await _engine_id(db), runtime),
            builds=builds,
        )
        yield Wired(rooms, registry)


def _builds(config: EngineConfig, cs: Containers, content: Content, db: Database) -> "Builds":
    """The room of builds: most engines never need it, and it weighs."""
    from lighterman.build import Builds
    from lighterman.daemon.build_rules import build_rules

    return Builds(cs, content, db, build_rules(config))


async def _close(builds: "Once[Builds]") -> None:
    if builds.made is not None:
        await builds.made.close()


def _confining(host: Host) -> Host:
    """The host, with the profile of containers loaded where there is AppArmor; one that is there is kept."""
    if not host.features.apparmor or DEFAULT_PROFILE in apparmor.loaded_profiles():
        return host
    try:
        apparmor.load(default_profile())
    except OSError as error:
        log.warning("containers run without an AppArmor profile: %s", error)
        return replace(host, features=replace(host.features, apparmor=False))
    return host


async def _recover(cs: Containers, plugins: Plugins) -> None:
    """Bring what the last engine left and what the rows say together, from the processes up."""
    runs = await cs.runtime.recover()
    plugin_ids, plugin_roots = await plugins.recover()
    found = [run for run in runs if run.id not in plugin_ids]
    running = {
        run.id: run.state.pid for run in found if run.exec_id is None and isinstance(run.state, Running)
    }
    await cs.networks.reconcile(running)
    keep = {container.id for container in cs} | plugin_roots
    await cs.snapshots.reconcile(keep, set(running) | plugin_roots)
    await plugins.reconcile([run for run in runs if run.id in plugin_ids])
    await containers.check_driver(cs, cs.settings.log_driver)
    await cs.networks.begin_with_plugins()
    await cs.volumes.reconcile(
        [
            (mounted.name, container.id)
            for container in cs
            if container.id in running
            for mounted in container.mounts
            if mounted.name
        ]
    )
    await containers.reconcile(cs, found)


async def _engine_id(db: Database) -> str:
    """The id that this data root was given at its first start."""
    if (known := _FACTS.load(db).get("id")) is not None:
        return known
    made = str(uuid.uuid4())
    await db.write(_FACTS.put("id", made))
    return made


def network_config(config: EngineConfig) -> NetworkConfig:
    """The part of the configuration that concerns networks."""
    pools = tuple(AddressPool(pool.base, pool.size) for pool in config.default_address_pools)
    return NetworkConfig(
        bridge_name=config.bridge,
        twin=_twin(config.exec_root),
        bip=config.bip,
        pools=pools or DEFAULT_POOLS,
        mtu=config.mtu,
        default_host_ip="" if config.ip == "0.0.0.0" else config.ip,
        icc=config.icc,
        ip_forward=config.ip_forward,
        ip_masq=config.ip_masq and config.iptables,
        iptables=config.iptables,
        ip6tables=config.has_ip6tables,
        fixed_cidr=subnet_of(config.fixed_cidr),
        default_gateway=config.default_gateway,
        ipv6=config.ipv6,
        fixed_cidr_v6=subnet_of(config.fixed_cidr_v6),
        default_gateway_v6=config.default_gateway_v6,
        host_gateways=config.host_gateway_ips,
        own_ports=tuple(
            (host.address, host.port) for host in parse_hosts(config) if isinstance(host, TcpHost)
        ),
        dns=config.dns,
        default_options=config.default_network_opts,
    )


def _twin(exec_root: str) -> str:
    """A name for an engine whose running state is elsewhere than the usual one's; "" for that one."""
    usual = exec_root == EngineConfig().exec_root
    return "" if usual else hashlib.sha256(exec_root.encode()).hexdigest()[:6]


def unguarded(config: EngineConfig) -> tuple[str, ...]:
    """What /info warns of when the firewall is left alone."""
    if config.has_ip6tables:
        return ()
    key, of = ("ip6tables", " of IPv6") if config.iptables else ("iptables", "")
    return (f"WARNING: {key} is false: nothing{of} is masqueraded or kept apart, ports{of} are relayed",)


def swarm_engine(config: EngineConfig, cs: Containers, plugins: Plugins) -> Engine:
    """What a node of a swarm needs of this engine."""
    return Engine(
        root=Path(config.data_root) / "swarm",
        exec_root=Path(config.exec_root) / "swarm",
        containers=cs,
        version=__version__,
        labels=conflict_free_labels(config.labels),
        default_advertise_addr=config.swarm_default_advertise_addr,
        generic_resources=generic_resources(config.node_generic_resources),
        heartbeat_ticks=config.swarm_raft_heartbeat_tick,
        election_ticks=config.swarm_raft_election_tick,
        plugin_names=plugins.names,
    )


def runtime_commands(config: EngineConfig) -> dict[str, Sequence[str]]:
    """The further OCI runtimes: name -> program and arguments."""
    return {
        name: (shutil.which(runtime.path) or runtime.path, *runtime.runtime_args)
        for name, runtime in config.runtimes.items()
    }


def insecure_registries(config: EngineConfig) -> tuple[str, ...]:
    """Networks and hosts whose certificates need not be right: loopback is always one."""
    return (*LOOPBACK, *config.insecure_registries)


def transfer_limits(config: EngineConfig) -> Limits:
    """The part of the configuration that concerns registries."""
    return Limits(
        downloads=config.max_concurrent_downloads,
        uploads=config.max_concurrent_uploads,
        download_attempts=config.max_download_attempts,
    )


def container_settings(config: EngineConfig, id_map: IdMap | None) -> Settings:
    """The part of the configuration that concerns containers.

    Raises: InvalidParameter, Unimplemented for a log driver or one of its options.
    """
    with suppress(Expected):  # of each container, then
        resolve_log_config(LogConfig(), LogConfig(config.log_driver, dict(config.log_opts)), plugins=True)
    return Settings(
        data_root=Path(config.data_root),
        runtimes=frozenset(config.runtimes),
        default_runtime=config.default_runtime,
        log_driver=config.log_driver,
        log_opts=config.log_opts,
        dns=config.dns,
        dns_search=config.dns_search,
        dns_opts=config.dns_opts,
        cgroup_parent=config.cgroup_parent,
        init_path=_init_path(config),
        seccomp_profile=seccomp_profile(config),
        id_map=id_map,
        defaults=container_defaults(config),
        stop_timeout_s=config.default_stop_timeout,
    )


def _init_path(config: EngineConfig) -> str:
    """A static init: it is mounted into containers that have no library of the host's."""
    return config.init_path or shutil.which("tini-static") or shutil.which("docker-init") or ""


def engine_info(config: EngineConfig, engine_id: str, runtime: Runtime) -> EngineInfo:
    """What `/info` and `/version` tell of the configuration."""
    found = runtime.version()
    return EngineInfo(
        id=engine_id,
        version=__version__,
        data_root=config.data_root,
        default_runtime=config.default_runtime or next(iter(found), ""),
        runtimes={
            **{name: [name] for name in found if name in ("crun", "runc")},
            **{name: [each.path, *each.runtime_args] for name, each in config.runtimes.items()},
        },
        logging_driver=config.log_driver,
        labels=conflict_free_labels(config.labels),
        generic_resources=generic_resources(config.node_generic_resources),
        debug=config.debug,
        insecure_registries=insecure_registries(config),
        registry_mirrors=tuple(f"{mirror.rstrip('/')}/" for mirror in config.registry_mirrors),
        init_path=_init_path(config),
        experimental=config.experimental,
        api=versions.Span(versions.parse(config.min_api_version), versions.parse(config.api_max)),
        seccomp_profile=config.seccomp_profile or "default",
        no_new_privileges=config.no_new_privileges,
        userns=bool(config.userns_remap),
        authorization_plugins=config.authorization_plugins,
        warnings=(*exposures(config), *unguarded(config)),
    )
