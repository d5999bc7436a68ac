"""One life of the daemon: take what it needs alone, recover, serve, and on a signal stop in order.

Containers do not notice: their monitors outlive the daemon, and the next one adopts them.
"""

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from msgspec.structs import replace

from lighterman import __version__, api
from lighterman.api import Listener, Rooms
from lighterman.api.debug import dump_stacks
from lighterman.daemon import logging as lines
from lighterman.daemon.certificates import tls_context
from lighterman.daemon.config import EngineConfig
from lighterman.daemon.listeners import (
    Host,
    Restricted,
    UnixHost,
    listen_metrics,
    listen_status,
    open_listeners,
    parse_hosts,
    parse_restricted_hosts,
    parse_status,
)
from lighterman.daemon.process import (
    adjust_oom_score,
    claim_data_root,
    claim_exec_root,
    connections_possible,
    held_alone,
    notify,
    pidfile,
    prepare_process,
    set_proxies,
)
from lighterman.daemon.reload import Reload, tell_limits
from lighterman.daemon.watchdog import watched
from lighterman.daemon.wiring import wired
from lighterman.errdefs import System
from lighterman.linux.process import give_back_memory

if TYPE_CHECKING:
    from lighterman.api.metrics import Metrics
    from lighterman.api.routes import Route

log = logging.getLogger(__name__)


def run(config: EngineConfig, read: Callable[[], EngineConfig]) -> None:
    """Serve until SIGTERM or SIGINT; `read` gives the configuration anew when SIGHUP asks for it.

    Raises: EngineError when the engine cannot start; the text is for the operator.
    """
    hosts, restricted = parse_hosts(config), parse_restricted_hosts(config)
    if os.geteuid() != 0:
        raise System("the engine needs root")
    prepare_process()
    adjust_oom_score(config.oom_score_adjust)
    set_proxies(config)
    lines.set_up(config)
    data_root, exec_root = Path(config.data_root), Path(config.exec_root)
    with ExitStack() as held:
        claim_data_root(data_root)
        held.enter_context(held_alone(data_root / "lock", f"data root {data_root}"))
        claim_exec_root(exec_root)
        held.enter_context(held_alone(exec_root / "lock", f"exec root {exec_root}"))
        held.enter_context(pidfile(Path(config.pidfile)))
        listen = partial(open_listeners, anywhere=config.may_listen_anywhere, tls=tls_context(config))
        listeners = listen(hosts, group=config.group)
        for each in restricted:
            listeners += [
                replace(listener, role=each.role) for listener in listen([each.host], group=each.group)
            ]
        listeners += listen_status(config)
        held.enter_context(_unlinked([*hosts, *(each.host for each in restricted)]))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=False) as runner:
            runner.run(_serve(config, read, [*hosts, *restricted], listeners))


def _pages(config: EngineConfig) -> "Sequence[Route]":
    """What browsers are served, if the operator wants it: then alone its module is loaded."""
    if not config.status:
        return ()
    from lighterman.api.status import PAGES

    return PAGES


def _audit(config: EngineConfig, opened: AsyncExitStack) -> api.Audit | None:
    """What writes down who changed what, if the operator wants it: then alone its module is loaded."""
    if not config.audit_log:
        return None
    from lighterman.daemon.audit import AuditLog

    return opened.enter_context(AuditLog(config.audit_log)).write


async def _guard(config: EngineConfig, rooms: api.Rooms) -> api.Guard | None:
    """Who is asked before each request, if somebody is. Raises: System: a plugin is not there."""
    if not config.authorization_plugins:
        return None
    from lighterman.api.authorization import Authorization

    authorization = Authorization(rooms.plugins, config.authorization_plugins)
    await authorization.validate()
    return authorization.guard


async def _serve(
    config: EngineConfig,
    read: Callable[[], EngineConfig],
    hosts: Sequence[Host | Restricted],
    listeners: list[Listener],
) -> None:
    began_s = time.monotonic()
    stop = _stop_signal()
    async with AsyncExitStack() as opened:
        debugging = opened.enter_context(ExitStack())
        if config.debug:
            debugging.enter_context(watched(asyncio.get_running_loop()))
        engine = await opened.enter_async_context(wired(config))
        metrics = await _measured(config, engine.rooms, opened)
        serving = api.serve(
            engine.rooms,
            listeners,
            pages=_pages(config),
            grace_s=config.shutdown_timeout,
            most_connections=min(config.max_connections, connections_possible()),
            observe=metrics.observe if metrics else None,
            audit=_audit(config, opened),
            guard=await _guard(config, engine.rooms),
        )
        async with serving as front:
            # What has been made by now lives as long as the daemon: the collector need not look at it again.
            gc.freeze()
            gc.enable()
            give_back_memory()
            log.info(
                "op=start-engine version=%s duration_ms=%.0f", __version__, (time.monotonic() - began_s) * 1e3
            )
            tell_limits(config)
            _say_where(hosts, config)
            reload = Reload(config, read, engine, front, debugging)
            _on_signal(signal.SIGHUP, reload)
            _on_signal(signal.SIGUSR1, partial(dump_stacks, Path(config.exec_root)))
            notify("READY=1")
            name = await stop
            notify("STOPPING=1")
            await reload.close()
            log.info("op=stop-engine signal=%s: containers go on", name)


async def _measured(config: EngineConfig, rooms: Rooms, opened: AsyncExitStack) -> "Metrics | None":
    """What counts for Prometheus, served from now on; None when nobody asked for it."""
    if not config.metrics_addr:
        return None
    from lighterman.api.metrics import measured  # a megabyte that most engines need not have

    return await opened.enter_async_context(measured(listen_metrics(config.metrics_addr), rooms))


def _stop_signal() -> "asyncio.Future[str]":
    """Resolves with the name of the first SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def arrived(number: signal.Signals) -> None:
        if stop.done():
            log.warning("%s again: not waiting any longer", number.name)
            os._exit(128 + number)
        stop.set_result(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, arrived, number)
    for number in (signal.SIGHUP, signal.SIGUSR1):  # before the engine is up they end nothing
        _on_signal(number, lambda: None)
    return stop


def _on_signal(number: signal.Signals, act: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(number, act)


def _say_where(hosts: Sequence[Host | Restricted], config: EngineConfig) -> None:
    """The few lines for whoever started the engine by hand."""
    said = [
        f"Lighterman {__version__} is up. Data: {config.data_root}. Stop it with Ctrl-C: containers go on."
    ]
    said += [f"  listening on {host}" for host in hosts]
    if (page := parse_status(config)) is not None:
        said += [f"  status page on {str(page).replace('tcp:', 'http:')}"]
    said += [f"  export DOCKER_HOST={hosts[0]}"]
    print(*said, sep="\n", flush=True)


@contextmanager
def _unlinked(hosts: Iterable[Host]) -> Iterator[None]:
    """The files of unix sockets go when the block ends."""
    try:
        yield
    finally:
        for host in hosts:
            if isinstance(host, UnixHost):
                Path(host.path).unlink(missing_ok=True)
