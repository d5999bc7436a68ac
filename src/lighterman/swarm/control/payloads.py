"""Secrets and configs: small files that tasks get. The one is told to nobody again, the other to all."""

import hmac
import re
import time
from collections.abc import Iterable

from msgspec.structs import replace

from lighterman.apitypes import service as wire
from lighterman.lib.filters import Filters
from lighterman.swarm.control import view
from lighterman.swarm.control.find import by_label, one
from lighterman.swarm.control.refusals import AlreadyExists, InvalidArgument, Unknown
from lighterman.swarm.control.stores import Store
from lighterman.swarm.identity import new_id
from lighterman.swarm.state import Config, Delete, Kind, Put, Secret, Service, State
from lighterman.swarm.store import NameTaken, OutOfSequence

LARGEST_SECRET = 500 * 1024
LARGEST_CONFIG = 1000 * 1024
_NAME = re.compile(r"[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?")
_LONGEST_NAME = 64
Payload = Secret | Config


def list_secrets(store: Store, filters: Filters) -> list[wire.Secret]:
    """The secrets asked for, without what they keep. Raises InvalidParameter."""
    filters.check(("names", "name", "id", "label"))
    return [view.secret(store.state, each) for each in store.state.secrets.values() if _wanted(each, filters)]


def list_configs(store: Store, filters: Filters) -> list[wire.Config]:
    """The configs asked for. Raises InvalidParameter."""
    filters.check(("name", "id", "label"))
    return [view.config(store.state, each) for each in store.state.configs.values() if _wanted(each, filters)]


def _wanted(payload: Payload, filters: Filters) -> bool:
    """Names and ids are alternatives, as in SwarmKit; labels must all match."""
    chosen = [
        *(payload.spec.name == name for name in filters.get("names")),
        *(payload.spec.name.startswith(prefix) for prefix in filters.get("name")),
        *(payload.id.startswith(prefix) for prefix in filters.get("id")),
    ]
    return (any(chosen) or not chosen) and by_label(payload.spec.labels, filters.get("label"))


def inspect_secret(store: Store, ref: str) -> wire.Secret:
    """Raises NoSuchObject, Ambiguous."""
    return view.secret(store.state, one(store.state, Kind.SECRET, ref, Secret))


def inspect_config(store: Store, ref: str) -> wire.Config:
    """Raises NoSuchObject, Ambiguous."""
    return view.config(store.state, one(store.state, Kind.CONFIG, ref, Config))


async def create_secret(store: Store, spec: wire.SecretSpec) -> str:
    """Keep a secret; its id. Raises InvalidArgument, AlreadyExists."""
    _check_name(spec.name)
    _check_templating(spec.templating)
    if spec.driver is not None:
        if not spec.driver.name:
            raise InvalidArgument("secret driver must have a name")
        raise Unknown(f'plugin "{spec.driver.name}" not found')
    _check_size("secret", spec.data, LARGEST_SECRET)
    now_ns = time.time_ns()
    return await _create(store, Kind.SECRET, Secret(id=new_id(), created_ns=now_ns, spec=spec))


async def create_config(store: Store, spec: wire.ConfigSpec) -> str:
    """Keep a config; its id. Raises InvalidArgument, AlreadyExists."""
    _check_name(spec.name)
    _check_templating(spec.templating)
    _check_size("config", spec.data, LARGEST_CONFIG)
    now_ns = time.time_ns()
    return await _create(store, Kind.CONFIG, Config(id=new_id(), created_ns=now_ns, spec=spec))


async def _create(store: Store, kind: Kind, made: Payload) -> str:
    try:
        await store.commit([Put(kind, made, 0)])
    except NameTaken:
        raise AlreadyExists(f"{kind} {made.spec.name} already exists") from None
    return made.id


def _check_name(name: str) -> None:
    if not name:
        raise InvalidArgument("name must be provided")
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InvalidArgument(
            "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must "
            "be [a-zA-Z0-9]"
        )


def _check_templating(driver: wire.Driver | None) -> None:
    """SwarmKit takes any name here, and then the tasks fail."""
    if driver is not None and driver.name not in ("", "golang"):
        raise InvalidArgument(f'unsupported templating driver "{driver.name}"')


def _check_size(what: str, data: bytes, largest: int) -> None:
    if not 0 < len(data) < largest:
        raise InvalidArgument(f"{what} data must be larger than 0 and less than {largest} bytes")


async def update_secret(store: Store, ref: str, spec: wire.SecretSpec, *, version: int) -> None:
    """Change labels, which is all that may change. Raises NoSuchObject, InvalidArgument, OutOfSequence."""
    before = one(store.state, Kind.SECRET, ref, Secret)
    _check_only_labels(before, spec.name, spec.data)
    after = replace(before, updated_ns=time.time_ns(), spec=replace(before.spec, labels=spec.labels))
    await _update(store, Kind.SECRET, after, version)


async def update_config(store: Store, ref: str, spec: wire.ConfigSpec, *, version: int) -> None:
    """Change labels, which is all that may change. Raises NoSuchObject, InvalidArgument, OutOfSequence."""
    before = one(store.state, Kind.CONFIG, ref, Config)
    _check_only_labels(before, spec.name, spec.data)
    after = replace(before, updated_ns=time.time_ns(), spec=replace(before.spec, labels=spec.labels))
    await _update(store, Kind.CONFIG, after, version)


async def _update(store: Store, kind: Kind, after: Payload, version: int) -> None:
    if version != store.state.revision_of(kind, after.id):
        raise OutOfSequence(kind, after.id)
    await store.commit([Put(kind, after, version)])


def _check_only_labels(before: Payload, name: str, data: bytes) -> None:
    if name != before.spec.name or (data and not hmac.compare_digest(data, before.spec.data)):
        raise InvalidArgument("only updates to Labels are allowed")


async def remove_secret(store: Store, ref: str) -> None:
    """Forget a secret. Raises NoSuchObject; InvalidArgument while services have it."""
    secret = one(store.state, Kind.SECRET, ref, Secret)
    _check_unused("secret", secret, _users(store.state, secret.id))
    await store.commit([Delete(Kind.SECRET, secret.id)])


async def remove_config(store: Store, ref: str) -> None:
    """Forget a config. Raises NoSuchObject; InvalidArgument while services have it."""
    config = one(store.state, Kind.CONFIG, ref, Config)
    _check_unused("config", config, _users(store.state, config.id))
    await store.commit([Delete(Kind.CONFIG, config.id)])


def _users(state: State, id: str) -> list[Service]:
    found = []
    for service in state.services.values():
        container = service.spec.task_template.container_spec
        if container is not None and (
            any(each.secret_id == id for each in container.secrets)
            or any(each.config_id == id for each in container.configs)
        ):
            found.append(service)
    return found


def _check_unused(what: str, payload: Payload, users: Iterable[Service]) -> None:
    names = [service.spec.name for service in users]
    if names:
        raise InvalidArgument(
            f"{what} '{payload.spec.name}' is in use by the following "
            f"service{'s' if len(names) > 1 else ''}: {', '.join(names)}"
        )
