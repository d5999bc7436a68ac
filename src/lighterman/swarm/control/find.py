"""Finding objects, and keeping those that filters ask for. Source: moby, daemon/cluster/helpers.go."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from lighterman.swarm.control.refusals import NoSuchObject
from lighterman.swarm.state import Kind, State, Stored

T = TypeVar("T", bound=Stored)
WORDS = {
    Kind.SERVICE: "service",
    Kind.TASK: "task",
    Kind.NODE: "node",
    Kind.SECRET: "secret",
    Kind.CONFIG: "config",
    Kind.NETWORK: "network",
}
"""What clients call a kind."""


def one(state: State, kind: Kind, ref: str, type_: type[T]) -> T:
    """The object by id, name or beginning of its id. Raises NoSuchObject, Ambiguous."""
    found = state.find(kind, ref, WORDS[kind])
    if found is None:
        raise NoSuchObject(WORDS[kind], ref)
    assert isinstance(found, type_)
    return found


def by_prefix(value: str, prefixes: Iterable[str]) -> bool:
    """Whether the value begins with one of the prefixes, or none were asked for."""
    wanted = tuple(prefixes)
    return not wanted or value.startswith(wanted)


def by_label(labels: Mapping[str, str] | None, wishes: Iterable[str]) -> bool:
    """Whether every `key` or `key=value` is among the labels; an empty value is any value, as in SwarmKit."""
    have = labels or {}
    for wish in wishes:
        key, _, value = wish.partition("=")
        if key not in have or (value and have[key] != value):
            return False
    return True
