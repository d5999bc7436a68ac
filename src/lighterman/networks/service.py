"""Signatures first; the rooms above type-check against them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lighterman.apitypes import network as wire
from lighterman.db import Database
from lighterman.events import Events
from lighterman.lib.filters import Filters
from lighterman.networks.config import NetworkConfig
from lighterman.networks.row import NetworkRow
from lighterman.networks.sandbox import Sandbox, SandboxWish


class Networks:
    """All networks and sandboxes of this engine."""

    @classmethod
    async def open(cls, *, db: Database, events: Events, exec_root: Path, config: NetworkConfig) -> Networks:
        """The room with its default networks; bridge and nft table exist after `reconcile`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of sockets and threads; links, namespaces and rules stay for the containers that go on."""
        raise NotImplementedError

    async def reconcile(self, running: Mapping[str, int]) -> None:
        """Make the kernel what the state says: `running` is container id -> pid. Call once, before any connect."""
        raise NotImplementedError

    def reserve(self, wish: SandboxWish) -> Sandbox:
        """Decide addresses, MACs and ports and hold them; idempotent for each id. Quick, no waiting.

        Whoever reserved calls `disconnect` in the end, also when `connect` never came.
        """
        raise NotImplementedError

    async def connect(self, sandbox: Sandbox) -> None:
        """Make the sandbox in the kernel. Undoes itself on failure."""
        raise NotImplementedError

    async def disconnect(self, sandbox_id: str) -> None:
        """Take the sandbox back, or only what was reserved; idempotent."""
        raise NotImplementedError

    def sandbox(self, id: str) -> Sandbox | None:
        """What is reserved for this container."""
        raise NotImplementedError

    def find(self, ref: str) -> NetworkRow:
        """By full id, name or unique prefix of an id. Raises NotFound."""
        raise NotImplementedError

    def list(self, filters: Filters) -> list[wire.Network]:
        """For NetworkList."""
        raise NotImplementedError

    def inspect(self, ref: str) -> wire.Network:
        """For NetworkInspect."""
        raise NotImplementedError

    async def create(self, body: wire.NetworkCreateBody) -> wire.NetworkCreateResponse:
        """For NetworkCreate."""
        raise NotImplementedError

    async def remove(self, ref: str) -> None:
        """For NetworkDelete."""
        raise NotImplementedError

    async def prune(self, filters: Filters) -> wire.NetworkPruneResponse:
        """For NetworkPrune."""
        raise NotImplementedError
