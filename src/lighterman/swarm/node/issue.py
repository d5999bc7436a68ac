"""A manager hands out certificates: to nodes that join, and to nodes whose own is old or of another role.

Who asks shows a join token or the certificate that he has. While the root is rotated, leafs are signed by the
new root and carry it, signed by the old one, behind them: so they are good in the eyes of nodes of either
age.
"""

import datetime as dt
import time

from lighterman.apitypes.swarm import NodeSpec
from lighterman.errdefs import InvalidParameter, NotFound
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.certificates import Identity, Pair
from lighterman.swarm.ca.tokens import NeedsToken, same_token
from lighterman.swarm.errors import NotReady
from lighterman.swarm.identity import new_id
from lighterman.swarm.state import Authority, Cluster, Kind, Node, Put, State
from lighterman.swarm.store import Store

AVAILABILITIES = ("active", "pause", "drain")


def authority_of(state: State) -> Authority:
    """Raises: NotReady before the store is read."""
    if state.authority is None:
        raise NotReady
    return state.authority


def cluster_of(state: State) -> Cluster:
    """Raises: NotReady before the store is read."""
    if state.cluster is None:
        raise NotReady
    return state.cluster


def trusted_root(state: State) -> str:
    """What nodes shall trust: the root, and the next one while it is rotated."""
    authority = authority_of(state)
    rotation = authority.rotation
    return authority.certificate + (rotation.certificate if rotation else "")


def signed(state: State, request: str, identity: Identity, now: dt.datetime) -> str:
    """A leaf, with the intermediate that a rotation needs behind it. Raises: InvalidParameter."""
    authority, life_ns = authority_of(state), cluster_of(state).spec.ca_config.node_cert_expiry
    life = dt.timedelta(microseconds=life_ns // 1000) if life_ns else certificates.LEAF_LIFE
    if authority.rotation is None:
        root, behind = Pair(authority.certificate, authority.key), ""
    else:
        root = Pair(authority.rotation.certificate, authority.rotation.key)
        behind = authority.rotation.cross_signed
    return certificates.issue(root, request, identity, now=now, life=life) + behind


def peer_certificate(state: State, request: str, identity: Identity, addresses: tuple[str, ...]) -> str:
    """A leaf for a member of etcd at these addresses. Raises: InvalidParameter."""
    authority = authority_of(state)
    root = Pair(authority.peer_certificate, authority.peer_key)
    # It is not renewed while it runs: as long as the root is.
    life = certificates.ROOT_LIFE - dt.timedelta(days=365)
    return certificates.issue(
        root, request, identity, now=dt.datetime.now(dt.UTC), life=life, addresses=addresses
    )


async def admit(store: Store, token: str, availability: str) -> Identity:
    """Write down a new node for whoever shows a join token.

    Raises: NeedsToken for a wrong token, InvalidParameter, NoLeader.
    """
    cluster = cluster_of(store.state)
    tokens = cluster.join_tokens
    if same_token(token, tokens.manager):
        role = "manager"
    elif same_token(token, tokens.worker):
        role = "worker"
    else:
        raise NeedsToken
    if availability and availability not in AVAILABILITIES:
        raise InvalidParameter(f'invalid Availability: "{availability}"')
    node, now_ns = new_id(), time.time_ns()
    spec = NodeSpec(role=role, availability=availability or "active")
    made = Node(id=node, created_ns=now_ns, updated_ns=now_ns, spec=spec, role=role)
    await store.commit([Put(Kind.NODE, made, 0)])
    return Identity(node, role, cluster.id)


def renewed(state: State, identity: Identity) -> Identity:
    """Whom the next certificate of a node speaks of: its role may be another. Raises: NotFound."""
    node = state.nodes.get(identity.node_id)
    if node is None:
        raise NotFound(f"node {identity.node_id} not found when attempting to renew certificate")
    return Identity(node.id, node.role, identity.cluster_id)
