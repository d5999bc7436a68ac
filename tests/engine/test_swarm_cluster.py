"""A swarm of one node: it begins, is told about, survives, and ends. Through the docker command line."""

import asyncio
import datetime as dt
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from tests.support.leaks import processes
from tests.support.net import run_in
from tests.support.swarm import Cluster, Host
from tests.support.waiting import until

from lighterman.swarm.ca import certificates
from lighterman.swarm.node.books import Books
from lighterman.swarm.store import Etcd, Keyring

NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
    "to swarm and try again."
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def one(cluster: Cluster) -> Host:
    return cluster.host()


@pytest.fixture
def alone(one: Host) -> Iterator[Host]:
    """A host in no swarm, before and after the test."""
    if not one.engine.process:
        one.engine.start()
    one.http("POST", "/swarm/leave?force=1")
    yield one
    if not one.engine.process:
        one.engine.start()
    one.http("POST", "/swarm/leave?force=1")


MANAGERS_ONLY = [
    ("GET", "/swarm"),
    ("GET", "/swarm/unlockkey"),
    ("POST", "/swarm/update?version=1"),
    ("GET", "/nodes"),
    ("GET", "/nodes/x"),
    ("GET", "/services"),
    ("GET", "/services/x"),
    ("GET", "/services/x/logs?stdout=1"),
    ("GET", "/tasks"),
    ("GET", "/tasks/x"),
    ("GET", "/secrets"),
    ("GET", "/secrets/x"),
    ("GET", "/configs"),
    ("GET", "/configs/x"),
    ("DELETE", "/services/x"),
]


@pytest.mark.parametrize(("method", "path"), MANAGERS_ONLY)
def test_a_node_outside_of_a_swarm_says_how_to_get_into_one(alone: Host, method: str, path: str) -> None:
    answer = alone.http(method, path, {} if method == "POST" else None)
    assert (answer.status, answer.json) == (503, {"message": NO_MANAGER})


def test_only_who_is_in_a_swarm_can_leave_it(alone: Host) -> None:
    answer = alone.http("POST", "/swarm/leave", {})
    assert (answer.status, answer.json) == (503, {"message": "This node is not part of a swarm"})


def test_a_forced_leave_gives_up_a_join_that_nobody_answers(alone: Host) -> None:
    with (
        run_in(alone.engine.net.netns, lambda: socket.create_server((alone.address, 2399))) as silent,
        ThreadPoolExecutor(1) as beside,
    ):
        token = f"SWMTKN-1-{'1' * 50}-{'1' * 25}"
        wish = {
            "ListenAddr": "0.0.0.0:2377",
            "RemoteAddrs": [f"{alone.address}:2399"],
            "JoinToken": token,
        }
        joining = beside.submit(alone.http, "POST", "/swarm/join", wish)
        silent.settimeout(60)
        with silent.accept()[0]:  # now it waits for an answer, for 20 s
            assert alone.http("POST", "/swarm/leave?force=1").status == 200
            answer = joining.result()
    assert answer.status == 503
    assert answer.json == {"message": "The node has left the swarm before it had its place in it."}
    assert alone.info["LocalNodeState"] == "inactive"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, 'invalid ListenAddr "": invalid empty address'),
        (
            {"ListenAddr": "x"},
            400,
            "listen address must be an IP address or network interface (with optional port number)",
        ),
        (
            {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "1.2.3"},
            400,
            "advertise address must be a non-zero IP address or network interface "
            "(with optional port number)",
        ),
        (
            {"ListenAddr": "192.0.2.9:2377", "AdvertiseAddr": "192.0.2.9"},
            500,
            "manager stopped: failed to listen on remote API address: listen tcp 192.0.2.9:2377: bind: "
            "cannot assign requested address",
        ),
        (
            {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "10.99.0.1", "Spec": {"Name": "x"}},
            400,
            'swarm spec must be named "default"',
        ),
    ],
)
def test_a_swarm_that_cannot_be_is_refused_in_dockerds_words(
    alone: Host, body: dict[str, object], status: int, text: str
) -> None:
    answer = alone.http("POST", "/swarm/init", body)
    assert (answer.status, answer.json) == (status, {"message": text})
    assert alone.info["LocalNodeState"] == "inactive"


def test_a_token_that_is_none_is_refused(alone: Host) -> None:
    body = {"RemoteAddrs": ["x"], "JoinToken": "bad", "ListenAddr": "127.0.0.1:1"}
    answer = alone.http("POST", "/swarm/join", body)
    assert (answer.status, answer.json) == (500, {"message": "invalid join token"})


def test_a_swarm_begins_with_one_leader(alone: Host) -> None:
    alone.init()
    swarm, (node,) = alone.http.ok("GET", "/swarm"), alone.http.ok("GET", "/nodes")
    assert swarm["Spec"] == {
        "Name": "default",
        "Labels": {},
        "Orchestration": {"TaskHistoryRetentionLimit": 5},
        "Raft": {
            "SnapshotInterval": 10000,
            "KeepOldSnapshots": 0,
            "LogEntriesForSlowFollowers": 500,
            "ElectionTick": 10,
            "HeartbeatTick": 1,
        },
        "Dispatcher": {"HeartbeatPeriod": 5000000000},
        "CAConfig": {"NodeCertExpiry": 7776000000000000},
        "TaskDefaults": {},
        "EncryptionConfig": {"AutoLockManagers": False},
    }
    assert (swarm["DefaultAddrPool"], swarm["SubnetSize"], swarm["DataPathPort"]) == (
        ["10.0.0.0/8"],
        24,
        4789,
    )
    assert node["Spec"] == {"Labels": {}, "Role": "manager", "Availability": "active"}
    assert node["ManagerStatus"] == {"Leader": True, "Reachability": "reachable", "Addr": "10.99.0.1:2377"}
    assert node["Description"]["TLSInfo"] == swarm["TLSInfo"]
    info = alone.info
    assert (info["LocalNodeState"], info["ControlAvailable"], info["Nodes"], info["Managers"]) == (
        "active",
        True,
        1,
        1,
    )


def test_a_node_is_in_one_swarm_at_a_time(alone: Host) -> None:
    alone.init()
    text = (
        'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another '
        "one."
    )
    init = alone.http("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377"})
    join = alone.http(
        "POST", "/swarm/join", {"ListenAddr": "0.0.0.0:2377", "RemoteAddrs": ["1.1.1.1"], "JoinToken": "x"}
    )
    assert [(each.status, each.json["message"]) for each in (init, join)] == [(503, text)] * 2


def test_the_last_manager_leaves_by_force_only(alone: Host) -> None:
    alone.init()
    refused = alone.docker("swarm", "leave", check=False)
    assert "Removing the last manager erases all current state of the swarm." in refused.stderr
    alone.docker("swarm", "leave", "--force")
    assert alone.info["LocalNodeState"] == "inactive"
    assert list((alone.engine.data / "swarm").iterdir()) == []
    assert alone.http("GET", "/swarm").json == {"message": NO_MANAGER}


def test_a_swarm_outlives_a_killed_engine(alone: Host) -> None:
    alone.init()
    token, node = alone.token("worker"), alone.id
    alone.engine.restart_killed()
    first_seen = alone.info
    assert (first_seen["LocalNodeState"], first_seen["ControlAvailable"]) == ("active", True)
    alone.sees(alone, "ready")
    assert (alone.token("worker"), alone.id) == (token, node)
    until(lambda: alone.leader() == alone.address, what="it to lead again")


def test_settings_are_changed_by_version(alone: Host) -> None:
    alone.init()
    alone.docker("swarm", "update", "--task-history-limit", "3", "--cert-expiry", "720h")
    swarm = alone.http.ok("GET", "/swarm")
    assert swarm["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 3
    assert swarm["Spec"]["CAConfig"]["NodeCertExpiry"] == 720 * 3600 * 10**9
    stale = alone.http("POST", "/swarm/update?version=1", swarm["Spec"])
    assert (stale.status, stale.json["message"]) == (
        500,
        "rpc error: code = Unknown desc = update out of sequence",
    )
    named = alone.http(
        "POST", f"/swarm/update?version={swarm['Version']['Index']}", {**swarm["Spec"], "Name": "x"}
    )
    assert (named.status, named.json["message"]) == (400, 'swarm spec must be named "default"')
    none = alone.http("POST", "/swarm/update", swarm["Spec"])
    text = "invalid swarm version '': strconv.ParseUint: parsing \"\": invalid syntax"
    assert (none.status, none.json["message"]) == (400, text)


def test_a_token_that_was_rotated_is_another(alone: Host) -> None:
    alone.init()
    worker, manager = alone.token("worker"), alone.token("manager")
    alone.docker("swarm", "join-token", "--rotate", "-q", "worker")
    assert alone.token("worker") != worker
    assert alone.token("manager") == manager


def test_a_locked_manager_waits_for_its_key(alone: Host) -> None:
    alone.init("--autolock")
    key = alone.docker.out("swarm", "unlock-key", "-q")
    assert alone.http("POST", "/swarm/unlock", {"UnlockKey": key}).status == 409
    keys = alone.engine.data / "swarm" / "keys.json"
    assert list(json.loads(keys.read_text())) == ["sealed"]
    alone.engine.restart_killed()
    assert alone.info["LocalNodeState"] == "locked"
    locked = alone.http("GET", "/services")
    assert (locked.status, "needs to be unlocked" in locked.json["message"]) == (503, True)
    wrong = alone.http("POST", "/swarm/unlock", {"UnlockKey": "SWMKEY-1-" + "A" * 43})
    assert (wrong.status, wrong.json["message"]) == (
        401,
        "swarm could not be unlocked: invalid key provided",
    )
    assert alone.http("POST", "/swarm/unlock", {"UnlockKey": "x"}).status == 400
    alone.docker("swarm", "unlock", stdin=key.encode())
    alone.sees(alone, "ready")
    alone.docker("swarm", "update", "--autolock=false")
    until(lambda: "certificate" in keys.read_text(), what="the keys to lie open")


def test_old_keys_open_nothing_once_managers_lock(alone: Host) -> None:
    alone.init()
    alone.docker("secret", "create", "old", "-", stdin=b"x")
    old = Books(alone.engine.data / "swarm").keys().data_keys
    alone.docker("swarm", "update", "--autolock=true")
    alone.docker("secret", "create", "new", "-", stdin=b"x")

    async def opened() -> int:
        """How many objects the old keys open; what goes with a lease is written anew with the next one."""
        etcd, ring = Etcd(alone.engine.exec / "swarm" / "etcd" / "client:0"), Keyring(old)
        _, found = await etcd.everything()
        await etcd.close()
        objects = [pair for pair in found if pair.key.startswith(b"/s/") and not pair.lease]
        return sum(ring.is_current(pair.value) for pair in objects)

    until(lambda: asyncio.run(opened()) == 0, what="everything to be sealed anew")
    assert len(alone.docker.out("secret", "ls", "-q").split()) == 2


def test_a_node_whose_certificate_has_expired_says_how_to_go_on(alone: Host) -> None:
    alone.init()
    alone.engine.kill()
    books = Books(alone.engine.data / "swarm")
    keys, long_ago = books.keys(), dt.datetime.now(dt.UTC) - dt.timedelta(days=100)
    who, (request, key) = certificates.identity_of_pem(keys.certificate), certificates.new_request()
    expired = certificates.issue(certificates.new_root(long_ago), request, who, now=long_ago)
    books.write_keys(replace(keys, certificate=expired, key=key))
    alone.engine.start()
    text = "Swarm certificates have expired. To replace them, leave the swarm and join again."
    assert (alone.info["LocalNodeState"], alone.info["Error"]) == ("error", text)
    refused = alone.http("GET", "/services")
    assert (refused.status, refused.json["message"]) == (503, text)
    alone.docker("swarm", "leave", "--force")
    alone.init()
    alone.sees(alone, "ready")


def test_nothing_of_the_swarm_is_read_on_its_disk(alone: Host) -> None:
    alone.init()
    alone.docker("secret", "create", "open-sesame", "-", stdin=b"forty-thieves")
    files = [path for path in (alone.engine.data / "swarm" / "etcd").rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        assert b"forty-thieves" not in content
        assert b"open-sesame" not in content


def test_a_new_root_is_everybodys_without_a_stop(alone: Host) -> None:
    alone.init()
    before = alone.http.ok("GET", "/swarm")
    alone.docker("swarm", "ca", "--rotate")
    after = alone.http.ok("GET", "/swarm")
    assert after["TLSInfo"]["TrustRoot"] != before["TLSInfo"]["TrustRoot"]
    assert after["RootRotationInProgress"] is False
    assert after["JoinTokens"] != before["JoinTokens"]
    assert alone.node(alone)["Description"]["TLSInfo"] == after["TLSInfo"]


def test_a_killed_etcd_is_no_more_than_a_pause(alone: Host) -> None:
    alone.init()
    (etcd,) = (pid for pid, command in processes(alone.engine.net) if command.startswith("etcd "))
    os.kill(etcd, signal.SIGKILL)
    alone.docker("swarm", "update", "--task-history-limit", "6")
    assert alone.http.ok("GET", "/swarm")["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 6
    assert alone.info["LocalNodeState"] == "active"


def test_what_happens_in_a_swarm_is_told(alone: Host) -> None:
    alone.init()
    began = int(time.time()) - 1
    alone.docker("node", "update", "--availability", "drain", alone.id)
    alone.docker("config", "create", "shown", "-", stdin=b"x")
    alone.docker("config", "rm", "shown")

    def told() -> set[str]:
        span = ("--since", began, "--until", int(time.time()) + 1)
        shown = ("--filter", "scope=swarm", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
        return set(alone.docker.out("events", *span, *shown).splitlines())

    wanted = {"config create shown", "config remove shown"}
    until(lambda: wanted < told(), what="the events")
    assert any(line.startswith("node update") for line in told())
