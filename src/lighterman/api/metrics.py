"""Numbers for Prometheus, on a listener of their own that is opened only when it is asked for.

Names that begin with `engine_daemon_` are dockerd's and mean the same; ours begin with `lighterman_`. What
can be asked at the moment of the scrape is asked then; only times and counts of requests are kept.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from lighterman.api import web
from lighterman.api.rooms import Rooms
from lighterman.containers import states

ACTIONS = {
    "ContainerChanges": "changes",
    "ContainerCreate": "create",
    "ContainerDelete": "delete",
    "ContainerStart": "start",
    "ImageCommit": "commit",
}
"""Operations that dockerd times, and what it calls them."""
LAG_PERIOD_S = 1.0


class Metrics:
    """What is counted while the engine serves."""

    def __init__(self, rooms: Rooms) -> None:
        self.registry = CollectorRegistry()
        self._actions = Histogram(
            "engine_daemon_container_actions_seconds",
            "The number of seconds it takes to process each container action",
            ["action"],
            registry=self.registry,
        )
        self._requests = Histogram(
            "lighterman_request_seconds",
            "How long requests took until their answer began",
            ["operation", "code"],
            registry=self.registry,
        )
        for action in ACTIONS.values():
            self._actions.labels(action)
        ProcessCollector(registry=self.registry)
        self._now = _Now(rooms)
        self.registry.register(self._now)

    def observe(self, operation: str, status: int, took_s: float) -> None:
        """An answer was given."""
        self._requests.labels(operation or "none", status).observe(took_s)
        if operation in ACTIONS:
            self._actions.labels(ACTIONS[operation]).observe(took_s)

    async def watch_lag(self) -> None:
        """Find out, for as long as this is not cancelled, how late the event loop wakes what sleeps."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            self._now.lag_s = max(self._now.lag_s, loop.time() - due_s)


class _Now:
    """What is asked when somebody scrapes."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.lag_s = 0.0

    def collect(self) -> Iterable[Metric]:
        yield from self._of_the_engine()
        found = GaugeMetricFamily(
            "engine_daemon_container_states_containers",
            "The count of containers in various states",
            labels=["state"],
        )
        running, paused, stopped = states(self._rooms.containers)
        for state, count in (("running", running), ("paused", paused), ("stopped", stopped)):
            found.add_metric([state], count)
        yield found
        events = self._rooms.events
        yield CounterMetricFamily("engine_daemon_events", "The number of events logged", events.published)
        yield GaugeMetricFamily(
            "engine_daemon_events_subscribers_total",
            "The number of current subscribers to events",
            events.listeners,
        )
        yield GaugeMetricFamily(
            "lighterman_event_loop_lag_seconds",
            "The longest stall of the event loop since the last scrape",
            self.lag_s,
        )
        self.lag_s = 0.0

    def _of_the_engine(self) -> Iterable[Metric]:
        host, engine = self._rooms.host, self._rooms.engine
        facts = {
            "daemon_id": engine.id,
            "version": engine.version,
            "commit": engine.git_commit,
            "architecture": host.machine,
            "graphdriver": "overlay2",
            "kernel": host.kernel,
            "os": host.os_name,
            "os_type": "linux",
            "os_version": host.os_version,
        }
        told = GaugeMetricFamily(
            "engine_daemon_engine_info",
            "The information related to the engine and the OS it is running on",
            labels=list(facts),
        )
        told.add_metric(list(facts.values()), 1)
        yield told
        yield GaugeMetricFamily("engine_daemon_engine_cpus_cpus", "The number of cpus of the host", host.ncpu)
        yield GaugeMetricFamily(
            "engine_daemon_engine_memory_bytes",
            "The number of bytes of memory of the host",
            host.mem_total_bytes,
        )


@asynccontextmanager
async def measured(listener: socket.socket, rooms: Rooms) -> AsyncIterator[Metrics]:
    """Serve GET /metrics on `listener`, a bound TCP socket, until the block ends; it is closed then."""
    metrics = Metrics(rooms)

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        if (http.method, http.path) != ("GET", "/metrics"):
            return web.Response(status=404, text="404 page not found\n")
        encoder, content_type = choose_encoder(http.headers.get("Accept", ""))
        return web.Response(body=encoder(metrics.registry), headers={"Content-Type": content_type})

    server: Any = web.Server(answer, access_log=None)
    accepting = await asyncio.get_running_loop().create_server(server, sock=listener)
    watching = asyncio.get_running_loop().create_task(metrics.watch_lag())
    try:
        yield metrics
    finally:
        watching.cancel()
        accepting.close()
        await server.shutdown(1.0)
