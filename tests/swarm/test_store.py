"""The store on a real etcd: one process for all tests here, on a port of loopback."""

import asyncio
import datetime as dt
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from lighterman.apitypes.service import ConfigSpec, SecretSpec
from lighterman.swarm.ca import certificates
from lighterman.swarm.node.data_keys import reseal
from lighterman.swarm.state import Authority, Config, Delete, Kind, Put, Secret, Session
from lighterman.swarm.store import (
    DataKey,
    Etcd,
    Fenced,
    Keyring,
    Member,
    MemberConfig,
    NameTaken,
    OutOfSequence,
    Store,
    StoreFull,
    new_data_key,
    removal_keeps_quorum,
)
from lighterman.swarm.store.member import complaint_in

KEY, LATER_KEY = new_data_key(), new_data_key()
pytestmark = pytest.mark.skipif(shutil.which("etcd") is None, reason="there is no etcd here")


async def later_keys() -> list[DataKey]:
    return [KEY, LATER_KEY]


async def led(store: Store) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def etcd_at(root: Path, quota_bytes: int = 4 << 30) -> AsyncIterator[MemberConfig]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"https://127.0.0.1:{port}"
    config = MemberConfig(
        *("etcd", root / "data", root / "run", "one", "127.0.0.1", url, (("one", url),)),
        election_ms=500,
        quota_bytes=quota_bytes,
    )
    config.run_directory.mkdir(parents=True)
    now = dt.datetime.now(dt.UTC)
    pair, (request, key) = certificates.new_root(now), certificates.new_request()
    who = certificates.Identity("one", "manager", "c")
    config.certificate.write_text(certificates.issue(pair, request, who, now=now, addresses=("127.0.0.1",)))
    config.key.write_text(key)
    config.authority.write_text(pair.certificate)
    member = await Member.start(config)
    try:
        yield config
    finally:
        await member.stop()


@asynccontextmanager
async def store_of(config: MemberConfig, node_id: str, key: DataKey = KEY) -> AsyncIterator[Store]:
    etcd = Etcd(config.socket)
    store = Store(
        etcd, Keyring((key,)), node_id=node_id, addr=f"{node_id}:2377", version="1", ask_for_keys=later_keys
    )
    tasks = [asyncio.create_task(store.mirror()), asyncio.create_task(store.serve(led))]
    try:
        await asyncio.wait_for(store.ready(), 60)
        await asyncio.wait_for(store.another_lease(0), 60)
        yield store
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        await etcd.close()


def secret(id: str, name: str, data: bytes = b"x") -> Secret:
    return Secret(id=id, spec=SecretSpec(name=name, data=data))


async def leads(store: Store) -> None:
    with store.changes() as changes:
        while not store.is_leader:
            await asyncio.wait_for(changes.next(), 60)


async def test_a_store_keeps_what_it_says(tmp_path: Path) -> None:
    """One walk, since an etcd costs a second to start."""
    async with etcd_at(tmp_path) as config, store_of(config, "a") as one, store_of(config, "b") as two:
        await a_write_is_seen_by_its_writer_and_told_to_others(one, two)
        await a_name_belongs_to_one_object(one)
        await a_write_expects_a_revision(one)
        await either_all_or_nothing_is_written(one)
        await another_key_seals_everything_after_a_while(one, two)
        await one_leads_and_only_it_decides(one, two)
    for path in (tmp_path / "data").rglob("*"):
        if path.is_file():
            assert b"sesame" not in path.read_bytes(), "values and names are sealed"


async def a_write_is_seen_by_its_writer_and_told_to_others(one: Store, two: Store) -> None:
    with two.changes() as changes:
        revision = await one.commit([Put(Kind.SECRET, secret("a", "sesame", b"open-sesame"), 0)])
        assert one.state.secrets["a"].spec.data == b"open-sesame"
        assert one.state.revision_of(Kind.SECRET, "a") == revision
        while (Kind.SECRET, "a") not in await asyncio.wait_for(changes.next(), 60):
            pass  # who leads, and who is there, is told as well
        assert two.state.secrets == one.state.secrets


async def a_name_belongs_to_one_object(one: Store) -> None:
    with pytest.raises(NameTaken):
        await one.commit([Put(Kind.SECRET, secret("b", "sesame"), 0)])
    await one.commit([Put(Kind.CONFIG, Config(id="b", spec=ConfigSpec(name="sesame")), 0)])
    await one.commit([Delete(Kind.SECRET, "a")])
    await one.commit([Put(Kind.SECRET, secret("b", "sesame"), 0)])


async def a_write_expects_a_revision(one: Store) -> None:
    revision = one.state.revision_of(Kind.SECRET, "b")
    await one.commit([Put(Kind.SECRET, secret("b", "sesame", b"y"), revision)])
    for stale in (0, revision):
        with pytest.raises(OutOfSequence, match="update out of sequence"):
            await one.commit([Put(Kind.SECRET, secret("b", "sesame", b"z"), stale)])
    with pytest.raises(OutOfSequence):
        await one.commit([Delete(Kind.SECRET, "b", revision)])
    assert one.state.secrets["b"].spec.data == b"y"


async def either_all_or_nothing_is_written(one: Store) -> None:
    with pytest.raises(NameTaken):
        await one.commit(
            [Put(Kind.SECRET, secret("c", "other"), 0), Put(Kind.SECRET, secret("d", "sesame"), 0)]
        )
    assert set(one.state.secrets) == {"b"}


async def another_key_seals_everything_after_a_while(one: Store, two: Store) -> None:
    await leads(one) if not two.is_leader else None
    leader, other = (one, two) if one.is_leader else (two, one)
    assert await leader.sealed_otherwise() == []
    leader.keyring.adopt([LATER_KEY])
    leader.keyring.use(LATER_KEY.id)
    assert [id for kind, id, _ in await leader.sealed_otherwise() if kind is Kind.SECRET] == ["b"]
    bare = Authority(id="c", certificate="", key="", peer_certificate="", peer_key="")
    sealing = asyncio.create_task(reseal(leader))
    with other.changes() as changes:
        await leader.commit([Put(Kind.AUTHORITY, replace(bare, data_key=LATER_KEY.id), 0)])
        while other.state.authority is None or other.state.authority.resealed != LATER_KEY.id:
            await asyncio.wait_for(changes.next(), 60)
    sealing.cancel()
    assert await leader.sealed_otherwise() == await other.sealed_otherwise() == []
    assert other.state.secrets == leader.state.secrets != {}


async def one_leads_and_only_it_decides(one: Store, two: Store) -> None:
    await leads(one) if not two.is_leader else None
    leader, other = (one, two) if one.is_leader else (two, one)
    assert not other.is_leader
    assert {id for id in leader.managers} == {"a", "b"}
    await leader.commit([Put(Kind.SECRET, secret("e", "decided"), 0)], fenced=True)
    with pytest.raises(Fenced):
        await other.commit([Put(Kind.SECRET, secret("f", "not decided"), 0)], fenced=True)
    await leader.commit([Put(Kind.SESSION, Session(id="n", manager_id=leader.node_id))])
    with pytest.raises(Fenced):
        await leader.resign()
    await leads(other)
    with pytest.raises(Fenced):
        await leader.commit([Put(Kind.SECRET, secret("f", "not decided"), 0)], fenced=True)


async def test_a_store_that_is_full_says_so_and_makes_room(tmp_path: Path) -> None:
    quota_bytes = 16 << 20
    async with etcd_at(tmp_path, quota_bytes) as config, store_of(config, "a") as one:
        with pytest.raises(StoreFull, match="the swarm's store is full"):
            for at in range(64):
                await one.commit([Put(Kind.SECRET, secret("a", "large", bytes([at]) * (1 << 20)))])
        (full,) = await one.etcd.full_members()
        with pytest.raises(StoreFull):
            await one.commit([Put(Kind.SECRET, secret("b", "small"))])
        assert await one.make_room(quota_bytes, [full]) == []
        await one.commit([Put(Kind.SECRET, secret("b", "small"))])
        assert len(one.state.secrets["a"].spec.data) == 1 << 20


@pytest.mark.parametrize(
    ("reachable", "unreachable", "leaving_is_reachable", "keeps"),
    [(3, 0, True, True), (2, 1, True, False), (2, 1, False, True), (2, 0, True, True), (1, 1, True, False)],
)
def test_a_majority_of_those_that_stay_is_reachable(
    reachable: int, unreachable: int, *, leaving_is_reachable: bool, keeps: bool
) -> None:
    assert removal_keeps_quorum(reachable, unreachable, leaving_is_reachable=leaving_is_reachable) is keeps


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], ""),
        (['{"level":"warn","msg":"slow"}'], "slow"),
        (
            [
                '{"level":"fatal","msg":"failed to commit tx","error":"no space left on device"}',
                '{"level":"warn","msg":"x"}',
            ],
            "failed to commit tx: no space left on device",
        ),
        (["setpriv: failed to execute etcd"], "setpriv: failed to execute etcd"),
    ],
)
def test_why_etcd_has_ended_is_read_in_its_log(lines: list[str], said: str) -> None:
    assert complaint_in(lines) == said
