"""Another configuration while the engine runs: what SIGHUP brings in, and what has to wait for a restart.

dockerd reloads some options (`RELOADED`); flags hold, and the file is read anew. A file that is wrong changes
nothing. The event `daemon reload` tells the values that are in force. Source: daemon/reload.go of moby 20.10.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import msgspec

from lighterman.api import Front
from lighterman.daemon import logging as lines
from lighterman.daemon.config import EngineConfig, as_go, options
from lighterman.daemon.container_defaults import container_defaults
from lighterman.daemon.validation import conflict_free_labels
from lighterman.daemon.watchdog import watched
from lighterman.daemon.wiring import Wired
from lighterman.errdefs import EngineError
from lighterman.lib.background import Background
from lighterman.lib.effects import in_thread

log = logging.getLogger(__name__)

RELOADED = frozenset(
    {
        "debug",
        "default-cgroupns-mode",
        "default-ipc-mode",
        "default-runtime",
        "default-shm-size",
        "default-stop-timeout",
        "default-ulimits",
        "dns",
        "dns-opts",
        "dns-search",
        "experimental",
        "features",
        "init",
        "insecure-registries",
        "labels",
        "log-driver",
        "log-level",
        "log-opts",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "no-new-privileges",
        "registry-mirrors",
        "runtimes",
        "seccomp-profile",
        "shutdown-timeout",
        "volume-trash",
    }
)
"""Keys of what acts at once. dockerd reloads half of them; the rest costs nothing here."""


class Reload:
    """The configuration that is in force, and the way to the next one."""

    def __init__(
        self,
        config: EngineConfig,
        read: Callable[[], EngineConfig],
        wired: Wired,
        front: Front,
        debugging: ExitStack,
    ) -> None:
        self._config, self._read = config, read
        self._wired, self._front, self._debugging = wired, front, debugging
        self._work, self._lock = Background(), asyncio.Lock()

    def __call__(self) -> None:
        """Begin to reload; one follows after the other."""
        self._work.start(self._reload)

    async def close(self) -> None:
        """Wait for what has begun."""
        await self._work.close()

    async def _reload(self) -> None:
        """Read the configuration anew; what is wrong with it is logged, and the one in force stays."""
        async with self._lock:
            try:
                wished = await in_thread(self._read)
                config = reloadable(self._config, wished)
                await self._wired.configure(config)
            except EngineError as error:
                log.error("op=reload outcome=refused: %s", error)
                return
            self._take_over(config, wished)

    def _take_over(self, config: EngineConfig, wished: EngineConfig) -> None:
        self._front.tell(self._wired.rooms)
        self._front.grace_s = config.shutdown_timeout
        lines.set_level(config)
        if config.debug != self._config.debug:
            self._debugging.close()
            if config.debug:
                self._debugging.enter_context(watched(asyncio.get_running_loop()))
        self._config = config
        tell_limits(config, "Reset ")
        if waiting := waits_for_restart(config, wished):
            log.warning("op=reload: restart the engine to bring in %s", ", ".join(waiting))
        log.info("op=reload outcome=ok")
        rooms = self._wired.rooms
        attributes = {**reload_attributes(config, rooms.engine.runtimes), "name": rooms.host.hostname}
        rooms.events.publish("daemon", "reload", rooms.engine.id, attributes)


def tell_limits(config: EngineConfig, before: str = "") -> None:
    """For who debugs, in dockerd's words: what `before` ("Reset ") says became of the limits."""
    for name, value in (
        ("Max Concurrent Downloads", config.max_concurrent_downloads),
        ("Max Concurrent Uploads", config.max_concurrent_uploads),
        ("Max Download Attempts", config.max_download_attempts),
        ("Shutdown Timeout", config.shutdown_timeout),
    ):
        log.debug("%s%s: %d", before, name, value)


def reloadable(config: EngineConfig, wished: EngineConfig) -> EngineConfig:
    """`config` with what of `wished` can be brought in at once."""
    names = {option.key: option.key.replace("-", "_") for option in options()}
    return msgspec.structs.replace(config, **{names[key]: getattr(wished, names[key]) for key in RELOADED})


def waits_for_restart(config: EngineConfig, wished: EngineConfig) -> list[str]:
    """The keys of what differs still."""
    names = (option.key for option in options())
    return [
        key
        for key in names
        if getattr(config, attribute := key.replace("-", "_")) != getattr(wished, attribute)
    ]


def reload_attributes(config: EngineConfig, runtimes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What the event tells, in the forms of dockerd's."""
    return {
        "allow-nondistributable-artifacts": "[]",
        "cluster-advertise": "",
        "cluster-store": "",
        "cluster-store-opts": "{}",
        "debug": as_go(config.debug),
        "default-cgroupns-mode": config.default_cgroupns_mode,
        "default-ipc-mode": config.default_ipc_mode,
        "default-runtime": config.default_runtime,
        "default-shm-size": str(container_defaults(config).shm_bytes),
        "features": as_go(config.features),
        "insecure-registries": _json(config.insecure_registries),
        "labels": _json(conflict_free_labels(config.labels)),
        "live-restore": "true",
        "max-concurrent-downloads": str(config.max_concurrent_downloads),
        "max-concurrent-uploads": str(config.max_concurrent_uploads),
        "max-download-attempts": str(config.max_download_attempts),
        "registry-mirrors": _json(config.registry_mirrors),
        "runtimes": " ".join(f"{name}:{command[0]}" for name, command in sorted(runtimes.items())),
        "shutdown-timeout": str(config.shutdown_timeout),
    }


def _json(values: tuple[str, ...]) -> str:
    return json.dumps(values, separators=(",", ":"))
