"""What surrounds a process, taken down after its end. Idempotent: a crash is followed by another try."""

from lighterman.containers import log_plugins
from lighterman.containers.given_files import take_back
from lighterman.containers.mounts import VolumeMount
from lighterman.containers.state import Container, Containers
from lighterman.lib.effects import in_thread, together


async def take_down(cs: Containers, container: Container) -> None:
    """Undo all that a start has made, network first for the order of events."""
    await together(
        cs.runtime.delete(container.id),
        cs.networks.disconnect(container.id),
        cs.snapshots.unmount(container.id),
    )
    await log_plugins.end(cs, container)
    if container.files:
        await in_thread(take_back, cs.settings.home(container.id))
    for name in {mount.name for mount in container.mounts if isinstance(mount, VolumeMount)}:
        await cs.volumes.unmount(name, container.id)
