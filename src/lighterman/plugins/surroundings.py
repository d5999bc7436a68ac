"""What the plugins need of the engine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from lighterman.content import Content, Workers
from lighterman.db import Database
from lighterman.events import Events
from lighterman.linux.host import Host
from lighterman.registry import Registry
from lighterman.runtime import Runtime
from lighterman.snapshots import NewLayer, Snapshots

DIRECTORIES = ("/run/docker/plugins", "/etc/docker/plugins", "/usr/lib/docker/plugins")
"""Where plugins of the host announce themselves: sockets in the first, texts in the others."""


class LayerLease(Protocol):
    """A hold on layers that are being used."""

    async def publish(self, layers: Sequence[NewLayer]) -> None:
        """Make layers visible, the lower ones first."""
        ...


class Surroundings(Struct, frozen=True):
    """The rooms below, the operator's decisions, and what is asked of the rooms above."""

    db: Database
    events: Events
    content: Content
    workers: Workers
    snapshots: Snapshots
    registry: Registry
    runtime: Runtime
    host: Host
    exec_root: Path
    users: Callable[[str], Sequence[str]]
    """Who uses the plugin of this name: volumes, networks, containers that log to it."""
    lease: Callable[[Sequence[str]], AbstractAsyncContextManager[LayerLease]]
    """A hold on the layers with these chain ids; what nobody stands on in the end goes."""
    version: str
    """The engine's."""
    cgroup_parent: str = ""
    directories: tuple[Path, ...] = tuple(map(Path, DIRECTORIES))
    timeout_s: int = 0
    """For each call of a plugin; 0: what the call itself allows."""

    @property
    def home(self) -> Path:
        """The directory below which each plugin has one of its own, for what is no layer."""
        return self.content.root / "plugins"
