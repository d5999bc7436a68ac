"""A real server on a unix socket, under uvloop as in the daemon."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from socket import AF_INET, AF_UNIX, socket
from typing import Any, cast

import pytest
import uvloop
from tests.api.peer import Peer, Serve

from lighterman import api, swarm
from lighterman.api.routes import ROUTES, Route
from lighterman.linux.host import probe_host


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves a table of routes with the rooms that the handlers under test need, and no others."""

    @asynccontextmanager
    async def serving(
        routes: Sequence[Route] = ROUTES,
        *,
        rooms: Mapping[str, Any] | None = None,
        tcp: bool = False,
        tls: ssl.SSLContext | None = None,
        has_page: bool = False,
        **options: Any,
    ) -> AsyncIterator[Peer]:
        outside = swarm.Engine(tmp_path, tmp_path, cast(Any, None), "26.11.0")  # of any swarm
        absent = dict.fromkeys(set(api.Rooms.__struct_fields__) - {"host", "engine"})
        served = api.Rooms(
            **cast(Any, {**absent, "swarm": swarm.Swarm(outside), **(rooms or {})}),
            host=probe_host(),
            engine=api.EngineInfo(id="test", version="26.11.0", data_root=str(tmp_path)),
        )
        listener = socket(AF_INET if tcp else AF_UNIX)
        listener.bind(("127.0.0.1", 0) if tcp else str(tmp_path / "api.sock"))
        listener.listen(16)
        peer = Peer(listener.getsockname())
        listeners = [api.Listener(listener, tls, has_page=has_page)]
        async with api.serve(served, listeners, routes=routes, **options):
            yield peer

    return serving


@pytest.fixture
async def peer(serve: Serve) -> AsyncIterator[Peer]:
    async with serve() as peer:
        yield peer
