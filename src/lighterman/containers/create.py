"""Making a container: the plan, then volumes and the writable layer, and the record last."""

import os
import secrets
import time
from random import SystemRandom

from msgspec import structs

from lighterman.apitypes.container import ContainerCreateBody, ContainerCreateResponse, LogConfig
from lighterman.apitypes.volume import VolumeCreateBody
from lighterman.containers.copy_up import copy_up
from lighterman.containers.given_files import GivenFile
from lighterman.containers.host_devices import find_block_io, find_devices
from lighterman.containers.life import Creating, Made
from lighterman.containers.log_plugins import check_driver
from lighterman.containers.mounts import BindMount
from lighterman.containers.names import check_name, made_up_name
from lighterman.containers.plan_create import CreatePlan, Engine, plan_create
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import InvalidParameter
from lighterman.lib.effects import in_thread, rollback

_CHANCE = SystemRandom()


def new_id() -> str:
    """64 hex digits of chance."""
    return secrets.token_hex(32)


async def create(
    cs: Containers,
    body: ContainerCreateBody,
    *,
    name: str = "",
    platform: str = "",
    deep_read_only: bool = False,
    transient: bool = False,
    managed: bool = False,
    files: tuple[GivenFile, ...] = (),
) -> ContainerCreateResponse:
    """Make a container without starting it.

    `platform` is what the image has to be for ("" is any that is here); with `deep_read_only` read-only binds
    are so with all that is mounted below them. A `transient` one does not outlive this engine, and its files
    are safe on the disk only when somebody has seen to it. A `managed` one is a task of a swarm, whose
    `files` are filled at each start.

    Raises: InvalidParameter, NotFound (no such image), NameTaken, Unimplemented. Source: ContainerCreate.
    """
    if body == ContainerCreateBody():
        raise InvalidParameter("Config cannot be empty in order to create a container")
    name = check_name(name) if name else made_up_name(cs.names, _CHANCE)
    await check_driver(cs, _log_driver(body, cs))
    container, plan, parent = _planned(cs, body, name, platform, deep_read_only)
    container = structs.replace(container, transient=transient, managed=managed, files=files)
    async with rollback() as undo:
        for volume in plan.volumes:
            if volume.anonymous:
                undo.push_async_callback(cs.volumes.remove, volume.name, force=True)
        undo.push_async_callback(cs.snapshots.remove, container.id)
        undo.callback(cs.abandon, container.id)  # the first of the undo: what refers to nothing can go
        cs.claim(container)
        if _concerns_the_host(plan):
            await in_thread(_check_the_host, plan)
        for volume in plan.volumes:
            driver = (
                "" if volume.driver == "local" else volume.driver
            )  # nobody asked: one that is there will do
            await cs.volumes.create(VolumeCreateBody(volume.name, driver, volume.options, volume.labels))
        await cs.snapshots.prepare(container.id, parent)
        await copy_up(cs, container)
        container = await cs.record(container, Made(), durable=not transient)
    cs.publish(container, "create")
    return ContainerCreateResponse(container.id, plan.warnings)


def _log_driver(body: ContainerCreateBody, cs: Containers) -> str:
    wished = body.host_config.log_config.type if body.host_config else ""
    return wished or cs.settings.log_driver


async def keep(cs: Containers, ref: str) -> None:
    """Let a transient container outlive the engine that made it. Raises: NoSuchContainer."""
    async with cs.locked(ref) as container:
        await cs.record(container, transient=False)


def _planned(
    cs: Containers, body: ContainerCreateBody, name: str, platform: str, deep_read_only: bool
) -> tuple[Container, CreatePlan, str | None]:
    """The container that is to be, its plan, and the layer that it stands on."""
    if not body.image:
        wanting = "image" if body.cmd or body.entrypoint else "command"
        raise InvalidParameter(f"No {wanting} specified")
    image = cs.images.find(body.image, platform=platform)
    container_id = new_id()
    plan = plan_create(
        body,
        container_id,
        image=image,
        host=cs.host,
        engine=_engine(cs),
        peer=cs.find,
        new_name=new_id,
        network_name=cs.network_name,
        deep_read_only=deep_read_only,
    )
    if not platform and (foreign := cs.images.foreign(image)):
        plan.warnings.append(foreign)
    container = Container(
        id=container_id,
        name=name,
        created_ns=time.time_ns(),
        image_id=image.id,
        config=plan.config,
        host_config=plan.host_config,
        endpoints=plan.endpoints,
        mounts=plan.mounts,
        life=Creating(),
    )
    return container, plan, image.top_chain


def _engine(cs: Containers) -> Engine:
    settings = cs.settings
    return Engine(
        runtimes=settings.runtimes
        | (cs.runtime.version().keys() & {"crun", "runc"}),  # others went by a reload
        log=LogConfig(settings.log_driver, dict(settings.log_opts)),
        data_root=str(settings.data_root),
        default_runtime=cs.default_runtime,
        init_path=settings.init_path,
        remaps=settings.id_map is not None,
        defaults=settings.defaults,
    )


def _concerns_the_host(plan: CreatePlan) -> bool:
    """Whether something is to be looked at; the usual container spares the way to a thread."""
    wish = plan.host_config
    return any(
        (
            plan.mounts,
            wish.devices,
            wish.blkio_weight_device,
            wish.blkio_device_read_bps,
            wish.blkio_device_write_bps,
            wish.blkio_device_read_iops,
            wish.blkio_device_write_iops,
        )
    )


def _check_the_host(plan: CreatePlan) -> None:
    """Look whether the files and devices that are wished exist. Blocks. Raises InvalidParameter."""
    for mount in plan.mounts:
        if isinstance(mount, BindMount) and not mount.create_source and not os.path.exists(mount.source):
            raise InvalidParameter(
                f'invalid mount config for type "bind": bind source path does not exist: {mount.source}'
            )
    if plan.host_config.devices:
        find_devices(plan.host_config)
    find_block_io(plan.host_config)
