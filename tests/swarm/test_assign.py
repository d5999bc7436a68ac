"""What nodes are told to do, made of the state alone."""

from typing import Any

import msgspec
import pytest

from lighterman.apitypes.network import NetworkServiceInfo, NetworkTask, PeerInfo
from lighterman.apitypes.service import (
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    Driver,
    Endpoint,
    EndpointSpec,
    EndpointVirtualIP,
    IPAMConfig,
    NetworkSpec,
    PortConfig,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    TaskSpec,
    TaskStatus,
)
from lighterman.apitypes.swarm import NodeDescription, SwarmSpec, TaskDefaults
from lighterman.swarm.control import networks
from lighterman.swarm.control.network_detail import detailed
from lighterman.swarm.node.assign import (
    NOTHING,
    Networks,
    assigned,
    concerned,
    difference,
    everything,
    mac_of,
)
from lighterman.swarm.session import Peer, decode_from_manager, encode
from lighterman.swarm.state import (
    Attached,
    Change,
    Cluster,
    Config,
    Kind,
    Network,
    NetworkStatus,
    NodeAddresses,
    NodeStatus,
    Secret,
    Service,
    ServiceStatus,
    State,
    Stored,
    Task,
    TaskObservation,
    TaskState,
    Template,
)


def put(state: State, kind: Kind, value: Stored) -> None:
    state.apply(Change(kind, value.id, value, state.revision + 1))


def task(id: str, node: str, **more: Any) -> Task:
    facts: dict[str, Any] = {
        "state": TaskState.ASSIGNED,
        "attached": (Attached("net", (f"10.0.1.{id[1:]}/24",)),),
    }
    facts |= {"service_id": "svc", "service_name": "web"} | more
    return Task(id=id, template_id="tmpl", node_id=node, **facts)


@pytest.fixture
def state() -> State:
    """A service of two tasks on two nodes in one overlay network, with a secret and a config."""
    made = State()
    container = ContainerSpec(
        image="busybox",
        secrets=[SecretReference(secret_id="sec")],
        configs=[ConfigReference(config_id="con")],
    )
    ports = [
        PortConfig(protocol="tcp", target_port=80, published_port=8080, publish_mode="ingress"),
        PortConfig(protocol="tcp", target_port=81, published_port=8081, publish_mode="host"),
    ]
    spec = ServiceSpec(name="web", labels={"a": "b"}, task_template=TaskSpec(container_spec=container))
    default = SwarmSpec(task_defaults=TaskDefaults(Driver("gelf")))
    endpoint = Endpoint(ports=ports, virtual_ips=[EndpointVirtualIP("net", "10.0.1.9/24")])
    for kind, value in (
        (Kind.CLUSTER, Cluster(id="c", spec=default)),
        (Kind.TEMPLATE, Template(id="tmpl", spec=spec.task_template, endpoint=EndpointSpec("vip", ports))),
        (Kind.SERVICE, Service(id="svc", spec=spec, registry_auth="auth")),
        (Kind.SERVICE_STATUS, ServiceStatus(id="svc", endpoint=endpoint)),
        (Kind.SECRET, Secret(id="sec", spec=SecretSpec(name="s", data=b"1"))),
        (Kind.SECRET, Secret(id="other", spec=SecretSpec(name="o", data=b"2"))),
        (Kind.CONFIG, Config(id="con", spec=ConfigSpec(name="c", data=b"3"))),
        (Kind.NETWORK, Network(id="net", spec=NetworkSpec(name="overlay"))),
        (
            Kind.NETWORK_STATUS,
            NetworkStatus(id="net", ipam=(IPAMConfig(subnet="10.0.1.0/24", gateway="10.0.1.1"),), vni=4097),
        ),
        (Kind.NODE_STATUS, NodeStatus(id="n1", description=NodeDescription(), addr="192.0.2.1")),
        (
            Kind.NODE_STATUS,
            NodeStatus(
                id="n2", description=NodeDescription(), addr="192.0.2.2", data_path_addr="198.51.100.2"
            ),
        ),
        (Kind.NODE_ADDRESSES, NodeAddresses(id="n1", addresses={"net": "10.0.1.7/24"})),
        (Kind.TASK, task("t2", "n1", slot=1)),
        (Kind.TASK, task("t3", "n2", slot=2)),
    ):
        put(made, kind, value)
    return made


def test_a_node_gets_its_tasks_and_what_they_need(state: State) -> None:
    work = assigned(state, "n1", Networks(state))
    (only,) = work.tasks.values()
    assert (only.id, only.name, only.slot, only.desired_state) == ("t2", "web.1.t2", 1, "running")
    assert (only.service_labels, only.registry_auth) == ({"a": "b"}, "auth")
    assert only.log_driver == Driver("gelf")
    assert [port.target_port for port in only.host_ports] == [81]
    (place,) = only.attachments
    assert (place.network_name, place.addresses, place.mac) == (
        "overlay",
        ("10.0.1.2/24",),
        "02:42:0a:00:01:02",
    )
    assert [(each.name, each.content) for each in work.secrets.values()] == [("s", b"1")]
    assert [(each.name, each.content) for each in work.configs.values()] == [("c", b"3")]


def test_a_network_comes_with_everything_that_is_in_it(state: State) -> None:
    network = assigned(state, "n1", Networks(state)).networks["net"]
    assert (network.subnet, network.gateway, network.vni) == ("10.0.1.0/24", "10.0.1.1", 4097)
    assert network.node_address == "10.0.1.7/24"
    assert [(peer.node_id, peer.addr) for peer in network.peers] == [
        ("n1", "192.0.2.1"),
        ("n2", "198.51.100.2"),
    ]
    assert [(end.task_id, end.node_id, end.address) for end in network.endpoints] == [
        ("t2", "n1", "10.0.1.2/24"),
        ("t3", "n2", "10.0.1.3/24"),
    ]
    assert [(each.name, each.vip, each.ports) for each in network.services] == [("web", "10.0.1.9/24", ())]
    assert assigned(state, "n2", Networks(state)).networks["net"].node_address == ""


def test_only_a_task_that_runs_takes_part_in_balancing(state: State) -> None:
    def healthy() -> list[bool]:
        return [end.healthy for end in assigned(state, "n1", Networks(state)).networks["net"].endpoints]

    assert healthy() == [False, False]
    running = TaskStatus(timestamp="", state="running")
    put(state, Kind.TASK_STATUS, TaskObservation(id="t3", status=running))
    assert healthy() == [False, True]
    put(state, Kind.TASK, task("t3", "n2", slot=2, desired=TaskState.SHUTDOWN))
    assert healthy() == [False]


def test_secrets_are_there_only_while_a_task_is_not_over(state: State) -> None:
    failed = TaskStatus(timestamp="", state="failed")
    put(state, Kind.TASK_STATUS, TaskObservation(id="t2", status=failed))
    work = assigned(state, "n1", Networks(state))
    assert set(work.tasks) == {"t2"}, "its container is kept for whoever reads its logs"
    assert (work.secrets, work.configs) == ({}, {})


def test_a_task_without_a_node_is_nobodys(state: State) -> None:
    put(state, Kind.TASK, task("t4", "n1", state=TaskState.PENDING))
    assert set(assigned(state, "n1", Networks(state)).tasks) == {"t2"}


def test_a_node_is_told_only_what_is_different(state: State) -> None:
    before = assigned(state, "n1", Networks(state))
    assert difference(before, assigned(state, "n1", Networks(state)), 2) is None
    put(state, Kind.TASK, task("t5", "n1", slot=3))
    added = difference(before, assigned(state, "n1", Networks(state)), 2)
    assert added is not None
    assert ([each.id for each in added.tasks], added.secrets, added.full) == (["t5"], (), False)
    gone = difference(before, NOTHING, 3)
    assert gone is not None
    assert gone.removed.tasks == ("t2",)
    assert gone.removed.secrets == ("sec",)
    assert gone.removed.networks == ("net",)


def test_frames_are_read_as_they_were_written(state: State) -> None:
    frame = everything(assigned(state, "n1", Networks(state)), 1)
    assert decode_from_manager(encode(frame)) == frame
    with pytest.raises(msgspec.ValidationError):
        decode_from_manager(msgspec.msgpack.encode({"t": "assign", "sequence": "x"}))
    newer = msgspec.msgpack.encode({"t": "managers", "managers": [{"node_id": "n", "addr": "a", "x": 1}]})
    assert decode_from_manager(newer).managers == (Peer("n", "a"),)  # type: ignore[union-attr]


def test_a_change_stirs_only_whom_it_concerns(state: State) -> None:
    told = {node: assigned(state, node, Networks(state)) for node in ("n1", "n2")} | {"n3": NOTHING}
    put(state, Kind.TASK, task("t6", "n3", attached=()))
    assert concerned(state, [(Kind.TASK, "t6")], told) == frozenset({"n3"})
    assert concerned(state, [(Kind.TASK, "t3")], told) == frozenset({"n1", "n2"}), (
        "all that share its network"
    )
    assert concerned(state, [(Kind.SESSION, "n1"), (Kind.NODE_STATE, "n1")], told) == frozenset()
    assert concerned(state, [(Kind.SERVICE, "svc")], told) is None, "everybody"
    state.apply(Change(Kind.TASK, "t3", None, state.revision + 1))
    assert concerned(state, [(Kind.TASK, "t3")], told) == frozenset({"n1", "n2"})


@pytest.mark.parametrize(
    ("addresses", "mac"),
    [(("10.0.1.5/24",), "02:42:0a:00:01:05"), (("fd00::1/64", "10.0.1.5/24"), "02:42:0a:00:01:05"), ((), "")],
)
def test_a_mac_address_is_made_of_the_ip_address(addresses: tuple[str, ...], mac: str) -> None:
    assert mac_of(addresses) == mac


def test_a_manager_tells_who_is_in_a_network(state: State) -> None:
    plain = Attached("net", ("10.0.1.4/24",), ("db", "0123456789ab"))
    put(state, Kind.TASK, task("t4", "n2", service_id="", service_name="", attached=(plain,)))
    shown = networks.shown(state, state.networks["net"])
    told = detailed(state, shown, verbose=False)
    assert told.peers == [PeerInfo("-n1", "192.0.2.1"), PeerInfo("-n2", "198.51.100.2")]
    assert b"Services" not in msgspec.json.encode(told)
    services = detailed(state, shown, verbose=True).services
    assert services["web"] == NetworkServiceInfo(
        "10.0.1.9",
        [],
        0,
        [
            NetworkTask("web.1.t2", "t2", "10.0.1.2", {"Host IP": "192.0.2.1"}),
            NetworkTask("web.2.t3", "t3", "10.0.1.3", {"Host IP": "198.51.100.2"}),
        ],
    )
    assert services[""] == NetworkServiceInfo(
        "<nil>", [], 0, [NetworkTask("db", "t4", "10.0.1.4", {"Host IP": "198.51.100.2"})]
    )


def test_a_network_without_a_subnet_has_nobody_in_it(state: State) -> None:
    put(state, Kind.NETWORK, Network(id="new", spec=NetworkSpec(name="new")))
    shown = networks.shown(state, state.networks["new"])
    assert detailed(state, shown, verbose=True) == shown
    assert b"Peers" not in msgspec.json.encode(shown)
