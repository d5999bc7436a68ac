"""Removing: nothing is left, or what is left is finished at the next start."""

import shutil
from pathlib import Path

from lighterman.containers.ending import kill_to_end
from lighterman.containers.errors import NoSuchContainer, UnderRemoval
from lighterman.containers.given_files import take_back
from lighterman.containers.ipc import give_back_shm
from lighterman.containers.life import (
    Condemned,
    Created,
    Creating,
    Exited,
    Paused,
    Removing,
    Restarting,
    Running,
)
from lighterman.containers.lone_binds import put_away
from lighterman.containers.mounts import VolumeMount
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict
from lighterman.lib.effects import in_thread, together


async def remove(cs: Containers, ref: str, *, force: bool = False, volumes: bool = False) -> None:
    """Make a container go away, with `force` a running one, with `volumes` its anonymous volumes too.

    Raises: NoSuchContainer, Conflict. Source: ContainerDelete.
    """
    container = cs.find(ref)
    if cs.live(container.id).removing:
        raise UnderRemoval(container.id)
    killed = force and isinstance(container.life, Running | Paused | Restarting)
    if killed:
        await kill_to_end(cs, container.id)
    try:
        async with cs.locked(container.id) as container:
            await dismantle(cs, container, volumes=volumes)
    except NoSuchContainer:
        if not killed:  # else it was to go away at its end, and did
            raise


async def dismantle(cs: Containers, container: Container, *, volumes: bool) -> None:
    """Take a container apart that has no process (with its lock held).

    Raises: Conflict for one that has. What fails leaves it `Removing`: the next `remove` goes on.
    """
    live = cs.live(container.id)
    live.removing = True
    try:
        container, doomed = await _condemn(cs, container, volumes=volumes)
        await together(
            cs.snapshots.remove(container.id),
            in_thread(_remove_home, cs.settings.home(container.id)),
        )
        for name in {*doomed, *(mount.name for mount in container.mounts if isinstance(mount, VolumeMount))}:
            await cs.volumes.unmount(name, container.id)  # what a failure kept it from letting go before
        for name in doomed:
            await _remove_volume(cs, name)
        await cs.forget(container.id)
    finally:
        live.removing = False
    cs.publish(container, "destroy")


def _remove_home(home: Path) -> None:
    """Its files; never what a start that was cut off has left mounted there."""
    give_back_shm(home)
    put_away(home)
    take_back(home)
    shutil.rmtree(home, ignore_errors=True)


async def _condemn(
    cs: Containers, container: Container, *, volumes: bool
) -> tuple[Container, tuple[str, ...]]:
    """The container as it is written down before it is taken apart, and the volumes that go with it."""
    match container.life:
        case Removing(_, doomed):
            return container, doomed
        case Created() | Exited() | Creating():
            anonymous = [
                mount for mount in container.mounts if isinstance(mount, VolumeMount) and mount.anonymous
            ]
            doomed = tuple(mount.name for mount in anonymous) if volumes else ()
            rest = tuple(mount for mount in container.mounts if mount.name not in doomed or not mount.name)
            return await cs.record(container, Condemned(doomed), mounts=rest), doomed
    state, advice = "running", "Stop the container before attempting removal or force remove"
    if isinstance(container.life, Paused):
        state, advice = "paused", f"Unpause and then {advice[0].lower()}{advice[1:]}"
    elif isinstance(container.life, Restarting):
        state = "restarting"
    raise Conflict(f"You cannot remove a {state} container {container.id}. {advice}")


async def _remove_volume(cs: Containers, name: str) -> None:
    try:
        await cs.volumes.remove(name, force=True)
    except Conflict:  # another container has it by VolumesFrom
        return
