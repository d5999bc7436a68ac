"""Which nodes are there. A node is there while it has a session with a manager."""

from msgspec.structs import replace

from lighterman.swarm.orchestrate.round import SECOND_NS, Round
from lighterman.swarm.state import Kind, NodeLiveness, TaskState

DEFAULT_HEARTBEAT_NS = 5 * SECOND_NS
GRACE_PERIODS = 2
"""How long a node may be without a session, in heartbeats: it may be on its way to another manager, or its
engine starts again. A silent session is ended by its manager before."""
ORPHANED_AFTER_NS = 24 * 3600 * SECOND_NS
"""Source: SwarmKit, dispatcher.defaultNodeDownPeriod."""


def judge(round: Round, node_id: str, missing_since_ns: int) -> int | None:
    """Say what is to be thought of the node; when to look again, or None.

    `missing_since_ns` is since when the leader knows that it has no session.
    """
    state = round.state
    known = state.liveness.get(node_id)
    if node_id not in state.nodes or node_id in state.sessions:
        if known is not None:
            round.draft.delete(Kind.NODE_STATE, node_id)
        return None
    if known is None or known.state != "down":
        due = missing_since_ns + _grace_ns(round)
        if round.now_ns < due:
            return due
        known = NodeLiveness(id=node_id, state="down", message="heartbeat failure", since_ns=round.now_ns)
        round.draft.put(Kind.NODE_STATE, known)
    due = known.since_ns + ORPHANED_AFTER_NS
    if round.now_ns < due:
        return due
    orphan(round, node_id, "Node is down for too long")
    return None


def _grace_ns(round: Round) -> int:
    cluster = round.state.cluster
    period = cluster.spec.dispatcher.heartbeat_period if cluster else 0
    return GRACE_PERIODS * (period or DEFAULT_HEARTBEAT_NS)


def orphan(round: Round, node_id: str, message: str) -> None:
    """Give up tasks of a node that does not come back."""
    for task in round.state.tasks_of_node(node_id):
        if round.state.seen(task).state < TaskState.COMPLETE:
            round.put_task(
                replace(task, state=TaskState.ORPHANED, state_ns=round.now_ns, message=message, error="")
            )
