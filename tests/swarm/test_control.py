"""What is wished of a swarm: refusals in recorded words, versions, filters, defaults."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.swarm.world import Memory, World

from lighterman.api.decode import decode
from lighterman.api.errors import status_of
from lighterman.apitypes import service as wire
from lighterman.apitypes import swarm
from lighterman.errdefs import EngineError
from lighterman.lib.filters import parse_filters
from lighterman.swarm.control import nodes, payloads, services, tasks
from lighterman.swarm.state import Kind, TaskState

GOOD: dict[str, Any] = {
    "Name": "x",
    "TaskTemplate": {"ContainerSpec": {"Image": "busybox:latest", "Command": ["sleep", "1000"]}},
}
RPC = "rpc error: code = {} desc = {}"


def wish(**changes: Any) -> wire.ServiceSpec:
    return decode(json.dumps(GOOD | changes).encode(), wire.ServiceSpec)


def task(**changes: Any) -> dict[str, Any]:
    return {"TaskTemplate": GOOD["TaskTemplate"] | changes}


def container(**changes: Any) -> dict[str, Any]:
    return task(ContainerSpec=GOOD["TaskTemplate"]["ContainerSpec"] | changes)


def ports(*each: dict[str, Any], mode: str = "") -> dict[str, Any]:
    return {"EndpointSpec": {"Mode": mode, "Ports": list(each)}}


async def refusal(work: Coroutine[Any, Any, object]) -> tuple[int, str]:
    with pytest.raises(EngineError) as caught:
        await work
    return status_of(caught.value), str(caught.value)


def ingress(world: World) -> None:
    world.network("ingress", ingress=True)


TWICE = {"TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp"}
REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"TaskTemplate": {}}, 400, "mismatched Runtime and *Spec fields"),
    (task(Runtime="attachment"), 400, "unsupported runtime"),
    (task(Runtime="plugin"), 400, "mismatched Runtime and *Spec fields"),
    (
        task(Runtime="plugin", PluginSpec={"Remote": "example/plugin"}) | {"Mode": {"Global": {}}},
        501,
        'services of the runtime type "plugin" are not supported: install example/plugin on each node with '
        "`docker plugin install`",
    ),
    (
        task(Networks=[{"Target": "host", "DriverOpts": {"b": "1", "a": "2"}}]),
        400,
        RPC.format("InvalidArgument", "the networks of a swarm have no options of endpoints: a, b"),
    ),
    ({"Name": "a b"}, 400, RPC.format("InvalidArgument", "name must be valid as a DNS name component")),
    ({"Name": "a" * 64}, 400, RPC.format("InvalidArgument", "name must be 63 characters or fewer")),
    (
        container(Image=""),
        400,
        RPC.format("InvalidArgument", "ContainerSpec: image reference must be provided"),
    ),
    (
        container(Image="UP"),
        400,
        RPC.format("InvalidArgument", 'ContainerSpec: "UP" is not a valid repository/tag'),
    ),
    (
        task(Resources={"Limits": {"MemoryBytes": 1000}}),
        400,
        RPC.format("InvalidArgument", "invalid memory value 1000: Must be at least 4MiB"),
    ),
    (
        task(Resources={"Limits": {"NanoCPUs": 1}}),
        400,
        RPC.format("InvalidArgument", "invalid cpu value 1e-09: Must be at least 0.001"),
    ),
    (
        task(Placement={"Constraints": ["foo"]}),
        500,
        RPC.format("Unknown", "constraint expected one operator from ==, !="),
    ),
    (
        container(Secrets=[{"SecretID": "nope", "SecretName": "s1", "File": {"Name": "s1"}}]),
        400,
        RPC.format("InvalidArgument", "secret not found: s1"),
    ),
    (
        container(
            Configs=[
                {"ConfigID": "a", "ConfigName": "c1", "File": {"Name": "/c1"}},
                {"ConfigID": "b", "ConfigName": "c2", "File": {"Name": "/c2"}},
            ]
        ),
        400,
        RPC.format("InvalidArgument", "configs not found: c1, c2"),
    ),
    (
        container(Configs=[{"ConfigID": "a", "ConfigName": "c1"}]),
        400,
        "invalid Config: either File or Runtime should be set",
    ),
    (task(Networks=[{"Target": "nope"}]), 500, "network nope not found"),
    (task(RestartPolicy={"Condition": "foo"}), 400, 'invalid RestartCondition: "foo"'),
    ({"UpdateConfig": {"FailureAction": "foo"}}, 400, "unrecognized update failure action foo"),
    ({"UpdateConfig": {"Order": "foo"}}, 400, "unrecognized update order foo"),
    (
        {"UpdateConfig": {"MaxFailureRatio": 2}},
        400,
        RPC.format(
            "InvalidArgument",
            "TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
    ),
    (
        ports(TWICE, TWICE),
        400,
        RPC.format("InvalidArgument", "EndpointSpec: duplicate published ports provided"),
    ),
    (
        ports(TWICE, mode="dnsrr"),
        400,
        RPC.format(
            "InvalidArgument",
            "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
    ),
    (ports(mode="foo"), 400, 'invalid resolution mode: "foo"'),
    (
        container(Mounts=[{"Type": "tmpfs", "Target": "/x"}, {"Type": "tmpfs", "Target": "/x"}]),
        400,
        RPC.format("InvalidArgument", "ContainerSpec: duplicate mount point: /x"),
    ),
    (container(Mounts=[{"Type": "foo", "Target": "/x"}]), 400, 'invalid MountType: "foo"'),
    (
        {"Mode": {"Global": {}, "Replicated": {}}},
        400,
        "must specify only one service mode",
    ),
    (
        container(Healthcheck={"Interval": 10}),
        400,
        RPC.format("InvalidArgument", "ContainerSpec: Interval in HealthConfig cannot be less than 1ms"),
    ),
    (
        task(Networks=[{"Target": "ingress"}]),
        400,
        RPC.format(
            "InvalidArgument",
            'Service cannot be explicitly attached to the ingress network "ingress"',
        ),
    ),
]


@pytest.mark.parametrize(("changes", "status", "text"), REFUSED, ids=[text for *_, text in REFUSED])
async def test_a_wrong_wish_is_refused_in_recorded_words(
    changes: dict[str, Any], status: int, text: str
) -> None:
    world = World()
    ingress(world)
    assert await refusal(services.create(world.store, wish(**changes))) == (status, text)
    assert not world.state.services


async def test_ports_of_the_mesh_need_the_mesh() -> None:
    found = await refusal(services.create(Memory(), wish(**ports({"TargetPort": 80}))))
    assert found == (
        400,
        RPC.format("FailedPrecondition", "service needs ingress network, but no ingress network is present"),
    )


async def test_a_name_belongs_to_one_service() -> None:
    store = Memory()
    await services.create(store, wish(Name="web"))
    assert await refusal(services.create(store, wish(Name="web"))) == (
        409,
        RPC.format("AlreadyExists", "name conflicts with an existing object: service web already exists"),
    )


async def test_a_service_without_a_name_gets_one() -> None:
    store = Memory()
    await services.create(store, wish(Name=""))
    (made,) = store.state.services.values()
    assert "_" in made.spec.name


async def test_a_port_in_the_mesh_belongs_to_one_service() -> None:
    world = World()
    ingress(world)
    first = await services.create(world.store, wish(Name="web", **ports({**TWICE, "PublishMode": "ingress"})))
    assert await refusal(services.create(world.store, wish(Name="x", **ports(TWICE)))) == (
        400,
        RPC.format(
            "InvalidArgument",
            f"port '8080' is already in use by service 'web' ({first}) as an ingress port",
        ),
    )


RECORDED = (
    '{"Name":"web","Labels":{"l":"1"},"TaskTemplate":{"ContainerSpec":{"Image":"busybox:latest","Command":'
    '["sleep","1000"],"Isolation":"default"},"ForceUpdate":0,"Runtime":"container"},"Mode":{"Replicated":'
    '{"Replicas":2}}}'
)


async def test_a_service_is_told_as_dockerd_tells_it() -> None:
    store = Memory()
    await services.create(store, wish(Name="web", Labels={"l": "1"}, Mode={"Replicated": {"Replicas": 2}}))
    told = services.inspect(store, "web")
    assert msgspec.json.encode(told.spec).decode() == RECORDED
    assert msgspec.json.encode(told.endpoint) == b'{"Spec":{}}'
    assert told.update_status is None


async def test_defaults_are_told_where_they_are_asked_for() -> None:
    store = Memory()
    await services.create(store, wish(Name="web"))
    told = msgspec.json.decode(msgspec.json.encode(services.inspect(store, "web", insert_defaults=True)))
    template = told["Spec"]["TaskTemplate"]
    assert template["ContainerSpec"]["StopGracePeriod"] == 10**10
    assert template["ContainerSpec"]["DNSConfig"] == {}
    assert template["Resources"] == template["Placement"] == {}
    assert template["RestartPolicy"] == {"Condition": "any", "Delay": 5 * 10**9, "MaxAttempts": 0}
    update = {
        "Parallelism": 1,
        "FailureAction": "pause",
        "Monitor": 5 * 10**9,
        "MaxFailureRatio": 0,
        "Order": "stop-first",
    }
    assert told["Spec"]["UpdateConfig"] == told["Spec"]["RollbackConfig"] == update


async def version(store: Memory) -> int:
    return services.inspect(store, "web").version.index


async def test_an_update_names_the_version_that_it_has_seen() -> None:
    store = Memory()
    await services.create(store, wish(Name="web"))
    index = await version(store)
    await services.update(store, "web", wish(Name="web", Labels={"a": "b"}), version=index)
    told = services.inspect(store, "web")
    assert told.version.index > index
    assert told.previous_spec is not None
    assert told.previous_spec.labels == {}
    late = services.update(store, "web", wish(Name="web"), version=index)
    assert await refusal(late) == (500, RPC.format("Unknown", "update out of sequence"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"Mode": {"Global": {}}}, "service mode change is not allowed"),
        ({"Name": "zzz"}, "renaming services is not supported"),
    ],
)
async def test_some_things_never_change(changes: dict[str, Any], text: str) -> None:
    store = Memory()
    await services.create(store, wish(Name="web"))
    work = services.update(store, "web", wish(**{"Name": "web", **changes}), version=await version(store))
    assert await refusal(work) == (501, RPC.format("Unimplemented", text))


async def test_a_rollback_brings_back_what_was_before() -> None:
    store = Memory()
    await services.create(store, wish(Name="web"))
    (made,) = store.state.services.values()
    work = services.update(store, "web", made.spec, version=await version(store), rollback="previous")
    assert await refusal(work) == (
        400,
        RPC.format("FailedPrecondition", f"service {made.id} does not have a previous spec"),
    )
    changed = wish(Name="web", **container(Image="other"))
    await services.update(store, "web", changed, version=await version(store))
    await services.update(store, "web", changed, version=await version(store), rollback="previous")
    told = services.inspect(store, "web")
    assert told.spec == made.spec
    assert told.previous_spec is not None
    assert told.update_status is not None
    assert (told.update_status.state, told.update_status.message) == (
        "rollback_started",
        "manually requested rollback",
    )


async def test_credentials_stay_unless_others_are_brought() -> None:
    store = Memory()
    await services.create(store, wish(Name="web"), registry_auth="first")
    await services.update(store, "web", wish(Name="web"), version=await version(store))
    await services.update(
        store, "web", wish(Name="web"), version=await version(store), registry_auth="second"
    )
    (service,) = store.state.services.values()
    assert (service.registry_auth, service.previous_registry_auth) == ("second", "first")
    await services.update(
        store,
        "web",
        wish(Name="web"),
        version=await version(store),
        registry_auth_from="previous-spec",
    )
    (service,) = store.state.services.values()
    assert service.registry_auth == "first"


async def test_objects_are_found_by_id_by_name_and_by_the_beginning_of_an_id() -> None:
    store = Memory()
    id = await services.create(store, wish(Name="web"))
    assert services.inspect(store, id) == services.inspect(store, "web") == services.inspect(store, id[:6])
    (made,) = store.state.services.values()
    store.put(Kind.SERVICE, replace(made, id=id[:20] + "zzzzz", spec=replace(made.spec, name="other")))
    with pytest.raises(EngineError, match=f"^service {id[:5]} is ambiguous \\(2 matches found\\)$"):
        services.inspect(store, id[:5])
    with pytest.raises(EngineError, match=r"^service nope not found$"):
        services.inspect(store, "nope")


async def listed(store: Memory, **filters: list[str]) -> list[str]:
    return sorted(each.spec.name for each in services.list_(store, parse_filters(json.dumps(filters))))


async def test_services_are_chosen_by_filters() -> None:
    store = Memory()
    await services.create(store, wish(Name="web1", Labels={"tier": "front"}))
    await services.create(store, wish(Name="web2", Mode={"Global": {}}))
    await services.create(store, wish(Name="db", Labels={"tier": "back"}))
    assert await listed(store) == ["db", "web1", "web2"]
    assert await listed(store, name=["web"]) == ["web1", "web2"]
    assert await listed(store, mode=["global"]) == ["web2"]
    assert await listed(store, label=["tier"]) == ["db", "web1"]
    assert await listed(store, label=["tier=front"]) == ["web1"]
    assert await listed(store, runtime=["plugin"]) == []
    with pytest.raises(EngineError, match=r"^Invalid filter 'foo'$"):
        await listed(store, foo=["x"])


async def test_tasks_are_chosen_by_filters() -> None:
    world = World(nodes=2)
    web = await services.create(world.store, wish(Name="web", Mode={"Replicated": {"Replicas": 2}}))
    await services.create(world.store, wish(Name="db", Labels={"tier": "back"}))
    world.agenda.note(list(world.state))
    world.settle()

    def chosen(**filters: list[str]) -> int:
        return len(tasks.list_(world.store, parse_filters(json.dumps(filters))))

    assert chosen() == 3
    assert chosen(service=["web"]) == chosen(service=[web]) == chosen(service=[web[:8]]) == 2
    assert chosen(service=["web"], node=["node1"]) == 1
    assert chosen(**{"desired-state": ["running"]}) == 3
    assert chosen(**{"desired-state": ["shutdown"]}) == 0
    assert chosen(label=["tier=back"]) == 1
    assert chosen(name=["web.1"]) == 1
    with pytest.raises(EngineError, match=r"^service nope not found$"):
        chosen(service=["nope"])
    assert chosen(**{"service": ["web"], "_up-to-date": ["true"]}) == 2
    changed = wish(Name="web", Mode={"Replicated": {"Replicas": 2}}, **container(Image="other"))
    revision = services.inspect(world.store, "web").version.index
    await services.update(world.store, "web", changed, version=revision)
    assert chosen(**{"service": ["web"], "_up-to-date": ["true"]}) == 0


async def test_a_task_is_told_from_both_of_its_halves() -> None:
    world = World()
    await services.create(world.store, wish(Name="web"))
    world.agenda.note(list(world.state))
    world.think()
    (made,) = world.state.tasks.values()
    told = tasks.inspect(world.store, f"web.1.{made.id}")
    assert (told.status.state, told.desired_state, told.spec.runtime) == ("assigned", "running", "")
    world.report(made, TaskState.RUNNING)
    after = tasks.inspect(world.store, made.id)
    assert after.status.state == "running"
    assert after.version.index > told.version.index


SECRET = wire.SecretSpec(name="s1", labels={"a": "b"}, data=b"hello")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            replace(SECRET, data=b""),
            "secret data must be larger than 0 and less than 512000 bytes",
        ),
        (
            replace(SECRET, data=b"x" * 512000),
            "secret data must be larger than 0 and less than 512000 bytes",
        ),
        (
            replace(SECRET, name="a b"),
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must "
            "be [a-zA-Z0-9]",
        ),
        (replace(SECRET, name=""), "name must be provided"),
    ],
)
async def test_a_secret_that_cannot_be_is_refused(spec: wire.SecretSpec, text: str) -> None:
    assert await refusal(payloads.create_secret(Memory(), spec)) == (
        400,
        RPC.format("InvalidArgument", text),
    )


async def test_a_secret_is_told_to_nobody_and_only_its_labels_change() -> None:
    store = Memory()
    await payloads.create_secret(store, SECRET)
    told = payloads.inspect_secret(store, "s1")
    assert b"Data" not in msgspec.json.encode(told)
    assert await refusal(payloads.create_secret(store, SECRET)) == (
        409,
        RPC.format("AlreadyExists", "secret s1 already exists"),
    )
    index = told.version.index
    await payloads.update_secret(store, "s1", replace(SECRET, labels={"c": "d"}), version=index)
    assert payloads.inspect_secret(store, "s1").spec.labels == {"c": "d"}
    for changed in (replace(SECRET, name="zz"), replace(SECRET, data=b"other")):
        assert await refusal(payloads.update_secret(store, "s1", changed, version=index)) == (
            400,
            RPC.format("InvalidArgument", "only updates to Labels are allowed"),
        )
    assert await refusal(payloads.update_secret(store, "s1", SECRET, version=1)) == (
        500,
        RPC.format("Unknown", "update out of sequence"),
    )


async def test_a_config_is_told_with_what_it_holds() -> None:
    store = Memory()
    await payloads.create_config(store, wire.ConfigSpec(name="c1", data=b"hello"))
    told = msgspec.json.encode(payloads.inspect_config(store, "c1").spec)
    assert told == b'{"Name":"c1","Labels":{},"Data":"aGVsbG8="}'


async def test_what_services_have_cannot_be_removed() -> None:
    store = Memory()
    secret = await payloads.create_secret(store, SECRET)
    reference = {"SecretID": secret, "SecretName": "s1", "File": {"Name": "s1"}}
    await services.create(store, wish(Name="web", **container(Secrets=[reference])))
    assert await refusal(payloads.remove_secret(store, "s1")) == (
        400,
        RPC.format("InvalidArgument", "secret 's1' is in use by the following service: web"),
    )
    await services.create(store, wish(Name="db", **container(Secrets=[reference])))
    assert await refusal(payloads.remove_secret(store, "s1")) == (
        400,
        RPC.format("InvalidArgument", "secret 's1' is in use by the following services: web, db"),
    )
    await services.remove(store, "web")
    await services.remove(store, "db")
    await payloads.remove_secret(store, "s1")
    with pytest.raises(EngineError, match=r"^secret s1 not found$"):
        payloads.inspect_secret(store, "s1")


def chosen_secrets(store: Memory) -> Callable[..., list[str]]:
    return lambda **filters: [
        each.spec.name for each in payloads.list_secrets(store, parse_filters(json.dumps(filters)))
    ]


async def test_names_and_ids_of_secrets_are_alternatives() -> None:
    store = Memory()
    await payloads.create_secret(store, SECRET)
    other = await payloads.create_secret(store, replace(SECRET, name="t2", labels={}))
    chosen = chosen_secrets(store)
    assert chosen(name=["s"]) == ["s1"]
    assert chosen(name=["s"], id=[other]) == ["s1", "t2"]
    assert chosen(label=["a=b"]) == ["s1"]


NODE = swarm.NodeSpec(role="manager", availability="active")


@pytest.mark.parametrize(
    ("spec", "version", "status", "text"),
    [
        (
            replace(NODE, role="worker"),
            2,
            400,
            RPC.format("FailedPrecondition", "attempting to demote the last manager of the swarm"),
        ),
        (NODE, 1, 500, RPC.format("Unknown", "update out of sequence")),
        (replace(NODE, role="foo"), 2, 400, 'invalid Role: "foo"'),
        (replace(NODE, availability=""), 2, 400, 'invalid Availability: ""'),
    ],
)
async def test_a_node_is_not_made_what_it_cannot_be(
    spec: swarm.NodeSpec, version: int, status: int, text: str
) -> None:
    world = World()
    assert await refusal(nodes.update(world.store, "node1", spec, version=version)) == (status, text)


async def test_a_node_is_found_by_its_host_and_chosen_by_filters() -> None:
    world = World(nodes=2)
    assert nodes.inspect(world.store, "node2").status.state == "ready"

    def chosen(**filters: list[str]) -> list[str]:
        return [each.id for each in nodes.list_(world.store, parse_filters(json.dumps(filters)))]

    assert chosen(role=["worker"]) == ["node2"]
    assert chosen(name=["node1"]) == ["node1"]
    assert chosen(membership=["pending"]) == []
    with pytest.raises(EngineError, match=r"^Invalid role filter: 'foo'$"):
        chosen(role=["foo"])


async def test_managers_and_nodes_that_are_there_are_not_removed() -> None:
    world = World(nodes=2)
    assert await refusal(nodes.remove(world.store, "node1", force=True)) == (
        400,
        RPC.format(
            "FailedPrecondition",
            "node node1 is a cluster manager and is a member of the raft cluster. It must be demoted to "
            "worker before removal",
        ),
    )
    assert await refusal(nodes.remove(world.store, "node2", force=False)) == (
        400,
        RPC.format("FailedPrecondition", "node node2 is not down and can't be removed"),
    )
    await nodes.remove(world.store, "node2", force=True)
    assert list(world.state.nodes) == ["node1"]
