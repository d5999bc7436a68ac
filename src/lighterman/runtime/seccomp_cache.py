"""Seccomp filters, compiled once.

Compiling the default profile is the largest single cost of a start (11 to 24 ms of 40). crun takes a ready
filter in an annotation, and leaves the filter that it compiled in a container's state: so one throw-away
container per filter is enough. The key is the filter as it is resolved for the container's capabilities, with
the versions of crun and kernel, which decide what becomes of it.
"""

import asyncio
import base64
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from lighterman.lib.effects import in_thread
from lighterman.oci import spec as oci
from lighterman.runtime.oci_runtimes import OciRuntime, ThrowAway

log = logging.getLogger(__name__)
ANNOTATION = "run.oci.seccomp_bpf_data"


class SeccompCache:
    """Compiled filters in memory and, for the daemon's next start, in `directory`."""

    def __init__(self, directory: Path, throw_away: Callable[[OciRuntime], ThrowAway]) -> None:
        self._directory, self._throw_away = directory, throw_away
        self._filters: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def compiled(self, seccomp: oci.LinuxSeccomp, runtime: OciRuntime) -> str:
        """The annotation's value, or "" where none can be had: then the runtime compiles by itself."""
        if runtime.kind != "crun" or seccomp.listener_path:
            return ""
        what = oci.encode(seccomp) + f"{runtime.version} {os.uname().release}".encode()
        key = hashlib.sha256(what).hexdigest()
        if key not in self._filters:
            async with self._locks.setdefault(key, asyncio.Lock()):  # one compilation for twenty starts
                if key not in self._filters:
                    self._filters[key] = await self._load(key, seccomp, runtime)
            self._locks.pop(key, None)
        return self._filters[key]

    async def _load(self, key: str, seccomp: oci.LinuxSeccomp, runtime: OciRuntime) -> str:
        file = self._directory / key
        if await in_thread(file.exists):
            return base64.b64encode(await in_thread(file.read_bytes)).decode()
        async with self._throw_away(runtime) as container:
            error = await container.create(seccomp)
            made = container.state / "seccomp.bpf"
            if error or not await in_thread(made.exists):
                log.warning("seccomp filters are compiled at each start: %s", error or f"{made} is not there")
                return ""
            filter = await in_thread(made.read_bytes)
        await in_thread(self._keep, file, filter)
        return base64.b64encode(filter).decode()

    def _keep(self, file: Path, filter: bytes) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_bytes(filter)
        new.rename(file)
