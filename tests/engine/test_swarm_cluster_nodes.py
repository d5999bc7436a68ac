"""Several nodes: they join, change their roles, get lost and come back. Engines on hosts of their own."""

import contextlib
import ssl
from collections.abc import Iterator
from http.client import HTTPSConnection

import pytest
from tests.support.net import run_in
from tests.support.swarm import Cluster, Host, side_by_side
from tests.support.waiting import until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        first, second, third, worker = made.several(4)
        first.init("--dispatcher-heartbeat", "1s")
        second.join(first, "manager")
        third.join(first, "manager")
        worker.join(first, "worker")
        yield made
    finally:
        made.close()


@pytest.fixture
def hosts(cluster: Cluster) -> Iterator[list[Host]]:
    """Three managers and a worker; all of them there before and after the test."""
    _settled(cluster.hosts)
    yield cluster.hosts
    for host in cluster.hosts:
        if not host.engine.process:
            host.engine.start()
    _settled(cluster.hosts)


def _settled(hosts: list[Host]) -> None:
    for host in hosts:
        hosts[0].sees(host, "ready")
        hosts[0].sees_manager(host, "reachable" if host is not hosts[3] else "")


def test_each_manager_knows_all_nodes(hosts: list[Host]) -> None:
    all_of_them = {host.address for host in hosts}
    for manager in hosts[:3]:
        until(lambda manager=manager: set(manager.nodes()) == all_of_them, what="all nodes")  # type: ignore[misc]
    worker = hosts[3].http("GET", "/nodes")
    assert worker.status == 503
    assert "Worker nodes can't be used to view or modify cluster state." in worker.json["message"]
    assert hosts[3].info["ControlAvailable"] is False
    assert {peer["Addr"] for peer in hosts[3].info["RemoteManagers"]} == {
        f"{host.address}:2377" for host in hosts[:3]
    }


def test_who_shows_a_wrong_token_stays_outside(cluster: Cluster, hosts: list[Host]) -> None:
    good = hosts[0].token("worker")
    wrong_secret = good[:-25] + "0" * 25
    wrong_root = good[:9] + "0" * 50 + good[59:]
    outside = cluster.host()
    try:
        for token, text in ((wrong_secret, "A valid join token is necessary"), (wrong_root, "fingerprint")):
            to = f"{hosts[0].address}:2377"
            refused = outside.docker("swarm", "join", "--token", token, to, check=False)
            assert (refused.code, text in refused.stderr) == (1, True), refused
            assert outside.info["LocalNodeState"] == "inactive"
    finally:
        cluster.hosts.remove(outside)
        outside.engine.close()
    assert len(hosts[0].nodes()) == 4


def test_a_workers_certificate_opens_nothing_of_the_managers(hosts: list[Host]) -> None:
    worker, manager = hosts[3], hosts[0].address
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    thief = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    thief.check_hostname, thief.verify_mode = False, ssl.CERT_NONE
    stolen = worker.engine.exec / "swarm"
    thief.load_cert_chain(stolen / "node.crt", stolen / "node.key")

    def asked(port: int, path: str, shown: ssl.SSLContext) -> int:
        """The status that the first manager answers with."""

        def ask() -> int:
            with contextlib.closing(HTTPSConnection(manager, port, context=shown, timeout=60)) as connection:
                connection.request("POST", path, b"{}")
                return connection.getresponse().status

        return run_in(worker.engine.net.netns, ask)

    for path in ("managers/join", "managers/ready", "managers/leave", "logs"):
        assert asked(2377, f"/v1/{path}", thief) == asked(2377, f"/v1/{path}", anybody) == 403
    assert asked(2377, "/v1/session", anybody) == 403
    assert asked(2377, "/v1.36/info", thief) == 404
    with pytest.raises((ssl.SSLError, ConnectionError)):
        asked(7946, "/members", thief)


def test_a_worker_becomes_a_manager_and_a_worker_again(hosts: list[Host]) -> None:
    first, worker = hosts[0], hosts[3]
    first.docker("node", "promote", worker.id)
    first.sees_manager(worker, "reachable")
    until(lambda: len(worker.nodes()) == 4, what="it to answer as a manager")
    first.docker("node", "demote", worker.id)
    first.sees_manager(worker, "")
    until(lambda: worker.info["ControlAvailable"] is False, what="it to be no manager")
    first.sees(worker, "ready")


def test_another_manager_leads_when_the_leader_is_killed(hosts: list[Host]) -> None:
    leader = next(host for host in hosts if host.address == hosts[0].leader())
    others = [host for host in hosts[:3] if host is not leader]
    leader.engine.kill()
    until(lambda: others[0].leader() not in ("", leader.address), what="another leader")
    others[1].docker("swarm", "update", "--task-history-limit", "7")
    others[0].sees_manager(leader, "unreachable")
    leader.engine.start()
    leader.sees(leader, "ready")
    assert leader.http.ok("GET", "/swarm")["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 7


def test_a_manager_without_a_majority_reads_and_does_not_write(hosts: list[Host]) -> None:
    alone = hosts[1]
    with alone.cut():
        until(lambda: hosts[0].leader() not in ("", alone.address), what="a leader of the majority")
        spec = alone.http.ok("GET", "/swarm")["Spec"]
        version = alone.http.ok("GET", "/swarm")["Version"]["Index"]
        refused = alone.http("POST", f"/swarm/update?version={version}", spec)
        assert refused.status == 503
        assert "The swarm does not have a leader." in refused.json["message"]
        hosts[0].docker("swarm", "update", "--task-history-limit", "9")
    until(
        lambda: alone.http.ok("GET", "/swarm")["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"] == 9,
        what="it to know what was decided without it",
    )


def test_a_node_that_is_silent_is_down_and_comes_back(hosts: list[Host]) -> None:
    worker = hosts[3]
    worker.engine.kill()
    hosts[0].sees(worker, "down")
    worker.engine.start()
    hosts[0].sees(worker, "ready")


def test_a_new_root_reaches_all_nodes(hosts: list[Host]) -> None:
    hosts[0].docker("swarm", "ca", "--rotate")
    root = hosts[0].http.ok("GET", "/swarm")["TLSInfo"]
    until(
        lambda: all(node["Description"]["TLSInfo"] == root for node in hosts[2].nodes().values()),
        what="every node to be of the new root",
    )
    side_by_side([host.engine.restart_killed for host in hosts])
    hosts[0].sees(hosts[3], "ready")


def test_a_manager_that_was_away_gets_the_data_key_that_was_made_meanwhile(hosts: list[Host]) -> None:
    first, away = hosts[0], hosts[2]
    away.engine.kill()
    first.docker("swarm", "update", "--autolock=true")
    made = first.docker.out("secret", "create", "of-the-new-key", "-", stdin=b"x")
    away.engine.start()
    until(lambda: away.http("GET", f"/secrets/{made}").status == 200, what="it to open what is new")
    keys = away.engine.data / "swarm" / "keys.json"
    until(lambda: "sealed" in keys.read_text(), what="its keys to be sealed")
    first.docker("secret", "rm", made)
    first.docker("swarm", "update", "--autolock=false")
    for host in hosts[:3]:
        keys = host.engine.data / "swarm" / "keys.json"
        until(lambda keys=keys: "sealed" not in keys.read_text(), what="its keys to lie open")  # type: ignore[misc]


def test_a_worker_that_left_is_down_and_can_be_removed(cluster: Cluster, hosts: list[Host]) -> None:
    extra = cluster.host().join(hosts[0])
    try:
        hosts[0].sees(extra, "ready")
        node = extra.id
        refused = hosts[0].docker("node", "rm", node, check=False)
        assert "is not down and can't be removed" in refused.stderr
        extra.docker("swarm", "leave")
        hosts[0].sees(extra, "down")
        hosts[0].docker("node", "rm", node)
        assert extra.address not in hosts[0].nodes()
    finally:
        cluster.hosts.remove(extra)
        extra.engine.close()


def test_a_majority_that_is_lost_is_left_behind(cluster: Cluster) -> None:
    """The last test of this swarm: it ends the others' part in it."""
    first, *others = cluster.hosts[:3]
    for other in others:
        other.engine.kill()
    first.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", first.address)
    until(lambda: first.leader() == first.address, what="it to lead alone")
    first.docker("swarm", "update", "--task-history-limit", "4")
    for other in others:
        other.engine.start()
        until(lambda other=other: other.info["ControlAvailable"] is False, what="it to be a worker")  # type: ignore[misc]
        first.sees(other, "ready")
