"""Finding, claiming, recording, waiting and listing, over a real database and with no process at all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs
from tests.containers.values import HOST, container

from lighterman.apitypes.container import EndpointSettings, HostConfig
from lighterman.apitypes.exec import ExecCreateBody
from lighterman.containers import Containers, Settings, exec_create, exec_inspect, rename, state, wait
from lighterman.containers.errors import AmbiguousPrefix, NameTaken, NoSuchContainer, NoSuchExec, NotRunning
from lighterman.containers.execs import Exec, ExecEnded
from lighterman.containers.life import Creating, Exited, Made, Paused, Restarting, Running, Started
from lighterman.containers.list import parse
from lighterman.containers.state import Container
from lighterman.db import Database
from lighterman.errdefs import Conflict, InvalidParameter, NotFound
from lighterman.events import Events
from lighterman.lib.filters import Filters, parse_filters
from lighterman.networks import NetworkConfig, Networks


@pytest.fixture
async def cs(tmp_path: Path) -> AsyncIterator[Containers]:
    db = Database(tmp_path / "state.db")
    yield await room(db, tmp_path)
    db.close()


class Expectant:
    """Of the runtime only what is told that a process may be started soon."""

    def expect(self) -> None:
        """Prepare nothing."""


async def room(db: Database, root: Path) -> Containers:
    """The room over a real database; what would need processes, layers or links is not reached here."""
    absent = cast(Any, None)
    events = Events(db)
    return Containers(
        db=db,
        events=events,
        images=absent,
        networks=await Networks.open(db=db, events=events, exec_root=root, config=NetworkConfig()),
        volumes=absent,
        snapshots=absent,
        workers=absent,
        runtime=cast(Any, Expectant()),
        host=HOST,
        settings=Settings(data_root=root),
        log_driver=absent,
    )


A, B, C = (letter * 64 for letter in "abc")


def made(cs: Containers, id: str, name: str, wish: HostConfig | None = None, **changes: object) -> Container:
    one = container(wish, id=id, name=name, **changes)
    cs.claim(one)
    return one


async def test_a_container_is_found_by_id_then_name_then_prefix(cs: Containers) -> None:
    one, two = made(cs, A, "one"), made(cs, "ab" + "0" * 62, "two")
    three = made(cs, B, A[:12])  # named as another's short id: the name wins
    assert cs.find(A) is one
    assert cs.find("one") is one
    assert cs.find("/one") is one
    assert cs.find("ab") is two
    assert cs.find("aa") is one
    assert cs.find(A[:12]) is three
    assert cs.find("b") is three


async def test_a_link_of_the_default_bridge_is_a_name_too(cs: Containers) -> None:
    store = made(cs, A, "db")
    web = made(cs, B, "web", endpoints={"bridge": EndpointSettings()})
    await cs.record(web, host_config=structs.replace(web.host_config, links=[f"{A}:store"]))
    made(cs, C, "elsewhere", HostConfig(network_mode="net", links=["db:store"]))
    assert cs.find("web/store") is store
    assert cs.find("/web/store") is store
    for ref in ("web/db", "web/store/store", "nobody/store", "elsewhere/store", "web/"):
        with pytest.raises(NoSuchContainer):
            cs.find(ref)


@pytest.mark.parametrize("ref", ["nope", "", "A" * 12, "/", "c"])
async def test_who_is_not_there_is_told(cs: Containers, ref: str) -> None:
    made(cs, A, "one")
    with pytest.raises(NoSuchContainer, match=f"No such container: {ref}"):
        cs.find(ref)


async def test_a_prefix_of_two_is_ambiguous(cs: Containers) -> None:
    made(cs, A, "one")
    made(cs, "ab" + "0" * 62, "two")
    with pytest.raises(AmbiguousPrefix, match="Multiple IDs found with provided prefix: a"):
        cs.find("a")


async def test_an_ended_exec_is_forgotten_though_others_went_before(
    cs: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "KEPT_S", 0.2)
    made(cs, A, "one")
    made(cs, B, "other")
    cs.end_exec(Exec(id="e", container_id=A, wish=ExecCreateBody(cmd=["true"])), ExecEnded(0))
    await cs.forget(B)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, later.set)  # behind the one that was set before
    await later.wait()
    assert not cs.execs


async def test_a_name_is_taken_once(cs: Containers) -> None:
    made(cs, A, "one")
    with pytest.raises(NameTaken, match=f'The container name "/one" is already in use by container "{A}"'):
        made(cs, B, "one")
    assert len(cs) == 1
    cs.abandon(A)
    cs.abandon(A)
    assert made(cs, B, "one").id == cs.find("one").id


async def test_what_is_recorded_is_there_after_a_restart(cs: Containers, tmp_path: Path) -> None:
    one = made(cs, A, "one", life=Creating())
    one = await cs.record(one, Made(), durable=True)
    one = await cs.record(one, Started(7, 10), attempted=True)
    assert one.life == Running(7, 10)
    again = await room(cs.db, tmp_path)
    assert again.find("one") == one
    await cs.forget(A)
    assert len(await room(cs.db, tmp_path)) == 0


async def test_a_lock_is_held_against_others_and_ends_with_its_container(cs: Containers) -> None:
    made(cs, A, "one")
    order: list[str] = []

    async def second() -> None:
        async with cs.locked("one"):
            order.append("second")

    async with cs.locked("one"):
        other = asyncio.ensure_future(second())
        await asyncio.sleep(0)
        order.append("first")
        await cs.forget(A)
    with pytest.raises(NoSuchContainer):
        await other
    assert order == ["first"]


async def test_a_rename_moves_the_name(cs: Containers) -> None:
    made(cs, A, "one")
    made(cs, B, "two")
    for name, text in (
        ("", "Neither old nor new names may be empty"),
        ("one", "Renaming a container with the same name as its current name"),
        ("_", r"Error when allocating new name: Invalid container name \(/_\), only"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            await rename(cs, "one", name)
    with pytest.raises(Conflict, match="new name: Conflict"):
        await rename(cs, "one", "/two")
    await rename(cs, "one", "/three")
    assert cs.find("three").id == A
    with pytest.raises(NoSuchContainer):
        cs.find("one")


async def test_to_wait_for_one_at_rest_is_over_at_once(cs: Containers) -> None:
    made(cs, A, "one", life=Exited(5, False, 1, 2))
    assert (await wait(cs, "one")).status_code == 5
    assert (await wait(cs, "one", "nonsense")).status_code == 5
    with pytest.raises(NoSuchContainer):
        wait(cs, "nope")


async def test_many_wait_for_one_end_and_one_may_hang_up(cs: Containers) -> None:
    made(cs, A, "one")
    waits = [asyncio.ensure_future(wait(cs, "one", "next-exit")) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    await asyncio.sleep(0)
    cs.live(A).tell_exit(3)
    assert [(await each).status_code for each in waits[1:]] == [3, 3]
    assert not cs.live(A).next_exit.done()


async def test_removal_is_told_with_the_last_exit_code(cs: Containers) -> None:
    made(cs, A, "one", life=Exited(5, False, 1, 2))
    gone = wait(cs, "one", "removed")
    await cs.forget(A)
    assert (await gone).status_code == 5


LISTED: list[tuple[str, list[str]]] = [
    ('{"status":["running"]}', ["run"]),
    ('{"status":["created","paused"]}', ["new", "ice"]),
    ('{"status":{"exited":true}}', ["end"]),
    ('{"exited":["5"]}', ["end"]),
    ('{"exited":["0"]}', []),
    ('{"name":["n"]}', ["new", "end", "run", "again"]),
    ('{"name":["^/new$"]}', ["new"]),
    ('{"name":["^ew"]}', []),
    ('{"id":["aaaa"]}', ["new"]),
    ('{"label":["x"]}', ["new", "end"]),
    ('{"label":["x=1"]}', ["new"]),
    ('{"label":["x","y"]}', ["end"]),
    ('{"volume":["v"]}', ["end"]),
    ('{"volume":["/src"]}', ["new"]),
    ('{"volume":["/target"]}', ["new"]),
    ('{"network":["mine"]}', ["end"]),
    ('{"network":["bridge"]}', ["new", "run", "ice", "again"]),
    ('{"before":["end"]}', ["new"]),
    ('{"since":["run"]}', ["ice", "again"]),
    ('{"health":["none"]}', ["new", "end", "run", "ice", "again"]),
    ('{"health":["healthy"]}', []),
    ('{"is-task":["true"]}', []),
    ('{"isolation":["x"]}', ["new", "end", "run", "ice", "again"]),
    ('{"publish":["80"]}', []),
    ('{"label":["x"],"status":["exited"]}', ["end"]),
]


@pytest.mark.parametrize(("text", "names"), LISTED)
async def test_a_filter_chooses(cs: Containers, text: str, names: list[str]) -> None:
    made(cs, A, "new", HostConfig(binds=["/src:/target"]), created_ns=1, labels={"x": "1"})
    made(
        cs,
        B,
        "end",
        HostConfig(binds=["v:/v"], network_mode="mine"),
        created_ns=2,
        labels={"x": "2", "y": ""},
        life=Exited(5, False, 1, 2),
    )
    made(cs, C, "run", created_ns=3, life=Running(7, 1))
    made(cs, "d" * 64, "ice", created_ns=4, life=Paused(7, 1))
    made(cs, "e" * 64, "again", created_ns=5, life=Restarting(5, False, 1, 2))
    asked = parse(cs, parse_filters(text))
    assert [each.name for each in cs if asked(each)] == names


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"status":["bogus"]}', "Invalid filter 'status=bogus'"),
        ('{"bogus":["x"]}', "Invalid filter 'bogus'"),
        ('{"exited":["x"]}', 'strconv.Atoi: parsing "x": invalid syntax'),
        ('{"health":["foo"]}', "Unrecognised filter value for health: foo"),
        ('{"publish":["abc"]}', 'error while looking up for publish abc: strconv.ParseUint: parsing "abc"'),
        ('{"expose":["1:2"]}', "filter for 'expose' should not contain ':': 1:2"),
        ('{"is-task":["maybe"]}', r"Invalid filter 'is-task=\[maybe\]'"),
    ],
)
async def test_a_wrong_filter_is_refused_in_dockers_words(cs: Containers, text: str, complaint: str) -> None:
    with pytest.raises(InvalidParameter, match=complaint):
        parse(cs, parse_filters(text))


async def test_a_filter_by_a_container_that_is_not_there_is_told(cs: Containers) -> None:
    with pytest.raises(NotFound, match="no such container nope"):
        parse(cs, parse_filters('{"before":["nope"]}'))


async def test_an_exec_needs_a_command_and_a_running_container(cs: Containers) -> None:
    made(cs, A, "one")
    made(cs, B, "run", life=Running(7, 1))
    made(cs, C, "ice", life=Paused(7, 1))
    with pytest.raises(InvalidParameter, match="No exec command specified"):
        await exec_create(cs, "run", ExecCreateBody())
    with pytest.raises(NotRunning, match=f"Container {A} is not running"):
        await exec_create(cs, "one", ExecCreateBody(cmd=["true"]))
    with pytest.raises(Conflict, match="Container ice is paused, unpause the container before exec"):
        await exec_create(cs, "ice", ExecCreateBody(cmd=["true"]))
    made_exec = await exec_create(cs, "run", ExecCreateBody(cmd=["sh", "-c", "exit 4"]))
    assert (await exec_inspect(cs, made_exec.id)).container_id == B
    assert cs.running_execs(B) == [made_exec.id]
    await cs.forget(B)
    with pytest.raises(NoSuchExec, match="No such exec instance"):
        await exec_inspect(cs, made_exec.id)


async def test_events_carry_labels_image_and_name(cs: Containers) -> None:
    made(cs, A, "run", labels={"l1": "v1"}, life=Running(7, 1))
    with cs.events.listen(Filters()) as listener:
        await exec_create(cs, "run", ExecCreateBody(cmd=["sh", "-c", "exit 4"]))
        event = await listener.next()
    assert event.action == "exec_create: sh -c exit 4"
    attributes = dict(event.actor.attributes)
    assert len(attributes.pop("execID")) == 64
    assert attributes == {"image": "busybox", "l1": "v1", "name": "run"}
