"""The settings of a swarm as a whole, what clients of events hear, and what a leader does for the cluster."""

import datetime as dt

import pytest
from msgspec.structs import replace

from lighterman.apitypes.swarm import (
    CAConfig,
    DispatcherConfig,
    EncryptionConfig,
    ExternalCA,
    NodeDescription,
    NodeSpec,
    OrchestrationConfig,
    RaftConfig,
    SwarmInitBody,
    SwarmSpec,
    TLSInfo,
)
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.swarm.ca import certificates
from lighterman.swarm.node import birth, cluster, leader, rotation
from lighterman.swarm.node.addresses import Place
from lighterman.swarm.node.dispatch import asks_now
from lighterman.swarm.node.manager import ticks
from lighterman.swarm.node.tell import Told, message
from lighterman.swarm.state import Change, Kind, Node, NodeStatus, Put, State, Write

NOW = dt.datetime.now(dt.UTC)


def test_what_an_init_does_not_say_has_dockerds_defaults() -> None:
    assert cluster.init_spec(SwarmInitBody()) == SwarmSpec(
        name="default",
        orchestration=OrchestrationConfig(5),
        raft=RaftConfig(10000, 0, 500, 10, 1),
        dispatcher=DispatcherConfig(5_000_000_000),
        ca_config=CAConfig(7_776_000_000_000_000),
    )


def test_what_an_init_says_stands() -> None:
    spec = SwarmSpec(
        labels={"a": "b"},
        orchestration=OrchestrationConfig(0),
        raft=RaftConfig(snapshot_interval=7),
        encryption_config=EncryptionConfig(True),
    )
    made = cluster.init_spec(SwarmInitBody(spec=spec))
    assert made.labels == {"a": "b"}
    assert made.orchestration.task_history_retention_limit == 0
    assert made.raft == RaftConfig(7, 0, 500, 10, 1)
    assert made.encryption_config.auto_lock_managers


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (SwarmSpec(name="x"), InvalidParameter, 'swarm spec must be named "default"'),
        (SwarmSpec(ca_config=CAConfig(1)), InvalidParameter, "minimum certificate expiry time is: 1h0m0s"),
        (SwarmSpec(dispatcher=DispatcherConfig(-1)), InvalidParameter, "cannot be a negative duration"),
        (SwarmSpec(raft=RaftConfig(election_tick=3)), InvalidParameter, "at least five times"),
        (SwarmSpec(raft=RaftConfig(log_entries_for_slow_followers=9)), Unimplemented, "slow followers"),
        (SwarmSpec(ca_config=CAConfig(external_cas=[ExternalCA("x")])), InvalidParameter, "invalid protocol"),
        (
            SwarmSpec(ca_config=CAConfig(external_cas=[ExternalCA("cfssl", "https://ca.example")])),
            Unimplemented,
            r"external certificate authorities are not supported \(https://ca.example\)",
        ),
        (SwarmSpec(ca_config=CAConfig(signing_ca_cert="x")), Unimplemented, "of its own"),
    ],
)
def test_settings_that_do_not_act_are_refused(spec: SwarmSpec, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        cluster.init_spec(SwarmInitBody(spec=spec))


def born(*, locks: bool = False) -> State:
    """The state of a new swarm of one node."""
    place = Place("0.0.0.0:2377", "192.0.2.1:2377", "192.0.2.1", "")
    spec = cluster.init_spec(SwarmInitBody(auto_lock_managers=locks))
    made = birth.new_swarm(place, spec, ("10.0.0.0/8",), 24, 4789, "")
    assert bool(made.unlock_key) is locks
    state = State()
    take(state, made.writes)
    return state


def take(state: State, writes: list[Write]) -> None:
    for write in writes:
        assert isinstance(write, Put)
        state.apply(Change(write.kind, write.id, write.value, state.revision + 1))


def described(state: State, node_id: str, root: str) -> NodeStatus:
    subject, public_key = certificates.issuer_of(root)
    tls = TLSInfo(root, subject, public_key)
    return NodeStatus(id=node_id, description=NodeDescription(tls_info=tls))


@pytest.mark.parametrize("locks", [False, True])
def test_a_new_swarm_has_one_manager_an_authority_and_the_network_of_the_routing_mesh(*, locks: bool) -> None:
    state = born(locks=locks)
    (node,) = state.nodes.values()
    (network,) = state.networks.values()
    assert (node.role, node.spec.role, node.spec.availability) == ("manager", "manager", "active")
    assert (network.spec.name, network.spec.ingress) == ("ingress", True)
    assert state.authority is not None
    assert bool(state.authority.unlock_key) is locks


def test_a_role_that_is_not_as_wished_is_changed() -> None:
    state = born()
    assert leader.role_changes(state) == []
    worker = Node(id="w", spec=NodeSpec(role="manager"), role="worker")
    take(state, [Put(Kind.NODE, worker)])
    assert leader.role_changes(state) == [worker]


def test_a_rotation_ends_when_the_last_node_is_of_the_next_root() -> None:
    state = born()
    (node,), before, tokens = (
        state.nodes.values(),
        state.authority,
        state.cluster and state.cluster.join_tokens,
    )
    assert before is not None
    take(state, [Put(Kind.NODE_STATUS, described(state, node.id, before.certificate))])
    begun = rotation.wished(before, CAConfig(force_rotate=1), NOW)
    assert begun.rotation is not None
    take(state, [Put(Kind.AUTHORITY, begun)])
    assert leader.must_renew(state, node.id)
    assert leader.rotation_writes(state, 1) == []
    take(state, [Put(Kind.NODE_STATUS, described(state, node.id, begun.rotation.certificate))])
    assert not leader.must_renew(state, node.id)
    take(state, leader.rotation_writes(state, 1))
    assert state.authority is not None
    assert (state.authority.certificate, state.authority.rotation) == (begun.rotation.certificate, None)
    assert state.cluster is not None
    assert state.cluster.join_tokens != tokens, "they name the root"
    assert leader.rotation_writes(state, 1) == []


BASE = Told("web", 5, {"image": "a", "replicas": "1"})


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, BASE, ("create", {"name": "web"})),
        (BASE, None, ("remove", {"name": "web"})),
        (BASE, BASE, None),
        (None, None, None),
        (BASE, BASE._replace(updated_ns=6), ("update", {"name": "web"})),
        (
            BASE,
            BASE._replace(facts={"image": "b", "replicas": "1"}),
            ("update", {"name": "web", "image.old": "a", "image.new": "b"}),
        ),
        (
            BASE,
            BASE._replace(facts={**BASE.facts, "updatestate": "updating"}),
            ("update", {"name": "web", "updatestate.new": "updating"}),
        ),
    ],
)
def test_an_event_tells_what_is_different(
    before: Told | None, now: Told | None, said: tuple[str, dict[str, str]] | None
) -> None:
    assert message(before, now) == said


def test_an_update_that_says_nothing_of_a_setting_gives_it_its_default() -> None:
    spec = cluster.merged(SwarmSpec(), cluster.init_spec(SwarmInitBody()))
    assert replace(spec, name="default") == cluster.init_spec(SwarmInitBody())


@pytest.mark.parametrize(
    ("operator", "both"), [((0, 0), (1, 10)), ((3, 0), (3, 15)), ((0, 40), (1, 40)), ((2, 20), (2, 20))]
)
def test_an_operators_ticks_go_before_those_of_the_swarm(
    operator: tuple[int, int], both: tuple[int, int]
) -> None:
    assert ticks(RaftConfig(10000, 0, 500, 10, 1), *operator) == both


def test_a_root_that_follows_at_once_is_not_waited_for() -> None:
    assert asks_now("old next", "old", 5.0, 0.0)
    assert not asks_now("old next", "old next", 6.0, 20.0), "it renews already"
    assert asks_now("old next", "old next", 21.0, 20.0), "it has not answered"
    assert asks_now("next third", "next", 7.0, 20.0)
