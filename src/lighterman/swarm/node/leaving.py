"""Whether a manager would be missed, in dockerd's words. Pure. Source: Cluster.Leave of moby."""

from lighterman.errdefs import Unavailable
from lighterman.swarm.store import Store

LOCKED = "Swarm is encrypted and locked. Please unlock it first or use `--force` to ignore this message."
_MANAGER = "You are attempting to leave the swarm on a node that is participating as a manager. "
_LAST = (
    "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
)
_ONLY_WAY = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with "
    "`--force-new-cluster`. Use `--force` to suppress this message."
)


def refusal(store: Store | None) -> Unavailable:
    """Why a manager does not leave without force; `store` is None of one that does not work."""
    if store is None:
        return Unavailable(f"{_MANAGER}Doing so may lose the consensus of your cluster. {_ONLY_WAY}")
    managers = sum(node.role == "manager" for node in store.state.nodes.values())
    there = len(store.managers)
    if managers == 1:
        return Unavailable(_MANAGER + _LAST)
    text = _MANAGER
    if there - 2 <= managers - there:
        text += (
            f"Removing this node leaves {there - 1} managers out of {managers}. Without a Raft quorum your "
            "swarm will be inaccessible. "
        )
    return Unavailable(text + _ONLY_WAY)
