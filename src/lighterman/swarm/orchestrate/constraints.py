"""Placement constraints: `node.labels.disk==ssd`. Source: SwarmKit, manager/constraint."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

from msgspec import Struct

from lighterman.apitypes.service import ServiceSpec
from lighterman.apitypes.swarm import NodeDescription
from lighterman.swarm.state import State

_KEY = re.compile(r"[a-z_][a-z0-9\-_.]+", re.IGNORECASE)
_VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE)
_OPERATORS = ("==", "!=")
NODE_LABELS = "node.labels."
ENGINE_LABELS = "engine.labels."


class Constraint(Struct, frozen=True):
    """One condition: the node's `key` equals `value`, or with `negated` does not."""

    key: str
    negated: bool
    value: str

    def __str__(self) -> str:
        return f"{self.key}{'!=' if self.negated else '=='}{self.value}"


@lru_cache(maxsize=1024)
def _parse_one(text: str) -> Constraint:
    for operator in _OPERATORS:
        if operator not in text:
            continue
        key, _, value = (part.strip() for part in text.partition(operator))
        if not _KEY.fullmatch(key):
            raise ValueError(f"key '{key}' is invalid")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"value '{value}' is invalid")
        return Constraint(key, operator == "!=", value)
    raise ValueError(f"constraint expected one operator from {', '.join(_OPERATORS)}")


def parse(texts: Iterable[str]) -> tuple[Constraint, ...]:
    """The constraints. Raises ValueError in SwarmKit's words."""
    return tuple(map(_parse_one, texts))


def matches(constraints: Iterable[Constraint], state: State, node_id: str) -> bool:
    """Whether the node satisfies all of them; a node that is not there satisfies none."""
    if node_id not in state.nodes:
        return not constraints
    return all(_matches(constraint, state, node_id) for constraint in constraints)


def unmet(constraints: Iterable[Constraint], state: State) -> list[str]:
    """Each constraint that some node does not satisfy, and how many do."""
    total = len(state.nodes)
    told = []
    for constraint in constraints:
        met = sum(_matches(constraint, state, node_id) for node_id in state.nodes)
        if met < total:
            told.append(f"{constraint} is met by {met} of {total} node{'s' if total != 1 else ''}")
    return told


def suits(state: State, spec: ServiceSpec, node_id: str) -> bool:
    """Whether a global service may get a task on the node."""
    placement = spec.task_template.placement
    node = state.nodes.get(node_id)
    if node is None or node.spec.availability != "active" or state.node_state(node_id) == "down":
        return False
    return matches(parse(placement.constraints) if placement else (), state, node_id)


def _matches(constraint: Constraint, state: State, node_id: str) -> bool:
    if constraint.key.lower() == "node.ip":
        inside = _contains(constraint.value, state, node_id)
        return inside is not None and inside != constraint.negated
    value = _value(constraint.key, state, node_id)
    return value is not None and (value.lower() == constraint.value.lower()) != constraint.negated


def _contains(wish: str, state: State, node_id: str) -> bool | None:
    """Whether the node's address is the wished one, or in the wished subnet; None for no such wish."""
    try:
        wished = ip_network(wish, strict=False)
    except ValueError:
        return None
    status = state.node_statuses.get(node_id)
    try:
        return status is not None and ip_address(status.addr) in wished
    except ValueError:
        return False


def _value(key: str, state: State, node_id: str) -> str | None:
    """What the node has under a key, labels in their own case; None for a key that nodes do not have."""
    node = state.nodes[node_id]
    status = state.node_statuses.get(node_id)
    description = NodeDescription() if status is None else status.description
    match key.lower():
        case "node.id":
            return node_id
        case "node.hostname":
            return description.hostname
        case "node.role":
            return node.role
        case "node.platform.os":
            return description.platform.os
        case "node.platform.arch":
            return description.platform.architecture
    return label(key, state, node_id)


def label(key: str, state: State, node_id: str) -> str | None:
    """The node's label that a key means, "" where it has none; None for a key that means no label."""
    lower = key.lower()
    if lower.startswith(NODE_LABELS) and len(key) > len(NODE_LABELS):
        return state.nodes[node_id].spec.labels.get(key[len(NODE_LABELS) :], "")
    if lower.startswith(ENGINE_LABELS) and len(key) > len(ENGINE_LABELS):
        status = state.node_statuses.get(node_id)
        return "" if status is None else status.description.engine.labels.get(key[len(ENGINE_LABELS) :], "")
    return None
