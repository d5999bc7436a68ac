"""The engine about itself, and its events as they go over the wire."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs
from tests.api.peer import Peer, Serve

from lighterman.api import EngineInfo
from lighterman.api.handlers.system import engine_version, limit_warnings, registries, security_options
from lighterman.apitypes.system import IndexInfo
from lighterman.db import Database
from lighterman.events import Events
from lighterman.linux.host import LimitSupport, probe_host

ENGINE = EngineInfo(id="e1", version="26.11.0", data_root="/nowhere", build_time="2026-11-24T00:00:00Z")
HOST = probe_host()
ALL_LIMITS = LimitSupport(**dict.fromkeys(LimitSupport.__struct_fields__, True))


def test_the_version_tells_what_the_engine_is_made_of() -> None:
    told = engine_version(ENGINE, HOST, {"crun": "1.8.1"})
    assert (told.version, told.api_version, told.min_api_version) == ("26.11.0", "1.44", "1.24")
    assert [(each.name, each.version) for each in told.components] == [
        ("Engine", "26.11.0"),
        ("crun", "1.8.1"),
    ]
    assert told.components[0].details["BuildTime"] == told.build_time == "2026-11-24T00:00:00Z"


def test_what_the_host_cannot_limit_is_a_warning() -> None:
    assert limit_warnings(ALL_LIMITS, forwarding=True) == []
    poor = structs.replace(ALL_LIMITS, swap_limit=False, pids_limit=False)
    assert limit_warnings(poor, forwarding=False) == [
        "WARNING: No swap limit support",
        "WARNING: No pids limit support",
        "WARNING: IPv4 forwarding is disabled",
    ]


def test_security_options_are_those_of_the_host() -> None:
    features = structs.replace(HOST.features, apparmor=True, seccomp=True)
    host = structs.replace(HOST, features=features, cgroup=structs.replace(HOST.cgroup, mode="v2"))
    assert security_options(host, ENGINE) == [
        "name=apparmor",
        "name=seccomp,profile=default",
        "name=cgroupns",
    ]
    strict = structs.replace(ENGINE, seccomp_profile="/etc/own.json", no_new_privileges=True)
    assert security_options(host, strict)[1:] == [
        "name=seccomp,profile=/etc/own.json",
        "name=cgroupns",
        "name=no-new-privileges",
    ]


def test_insecure_registries_are_networks_or_hosts() -> None:
    engine = structs.replace(ENGINE, insecure_registries=("127.0.0.0/8", "registry.lan:5000"))
    told = registries(engine)
    assert told.insecure_registry_cidrs == ["127.0.0.0/8"]
    assert told.index_configs["registry.lan:5000"] == IndexInfo("registry.lan:5000", [], False, False)
    assert told.index_configs["docker.io"].official


@pytest.fixture
async def events(tmp_path: Path) -> AsyncIterator[Events]:
    database = Database(tmp_path / "state.db")
    yield Events(database)
    database.close()


@pytest.fixture
async def listening(serve: Serve, events: Events) -> AsyncIterator[Peer]:
    async with serve(rooms={"events": events}) as peer:
        yield peer


async def test_an_event_is_one_line_of_json_and_comes_at_once(listening: Peer, events: Events) -> None:
    reader, writer = await listening.connect()
    writer.write(b"GET /v1.36/events HTTP/1.0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head
    events.publish("container", "start", "c1", {"name": "boat", "image": "busybox"})
    async with asyncio.timeout(5):
        line = await reader.readuntil(b"\n")
    event = json.loads(line)
    assert (event["status"], event["id"], event["from"]) == ("start", "c1", "busybox")
    assert event["Actor"] == {"ID": "c1", "Attributes": {"image": "busybox", "name": "boat"}}
    writer.close()


async def test_a_client_that_leaves_is_no_listener_any_more(listening: Peer, events: Events) -> None:
    reader, writer = await listening.connect()
    writer.write(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert events.listeners == 1
    writer.close()
    async with asyncio.timeout(5):
        while events.listeners:  # noqa: ASYNC110 there is nothing to wait for but this number
            await asyncio.sleep(0)


async def test_the_past_is_told_up_to_until(listening: Peer, events: Events) -> None:
    events.publish("volume", "create", "v1", {"driver": "local"})
    until_s = f"{time.time() + 0.01:.3f}"
    answer = await listening.ask("GET", f"/events?since=0&until={until_s}&filters=%7B%22x%22:[%22y%22]%7D")
    assert answer.status == 200
    assert b'"Action":"create"' in answer.body


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("since=abc&until=1", 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("since=10&until=5", "`since` time (10) cannot be after `until` time (5)"),
    ],
)
async def test_an_impossible_span_is_refused(listening: Peer, query: str, message: str) -> None:
    answer = await listening.ask("GET", f"/events?{query}")
    assert (answer.status, json.loads(answer.body)) == (400, {"message": message})
