"""How a swarm begins, and what of a node is erased: the values that are written first, the files that go
last.
"""

import datetime as dt
import shutil
import time

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.service import Driver, IPAMOptions, NetworkSpec
from lighterman.apitypes.swarm import JoinTokens, NodeSpec, SwarmSpec
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.certificates import Identity
from lighterman.swarm.ca.tokens import new_token, new_unlock_key
from lighterman.swarm.facade import Engine
from lighterman.swarm.identity import new_id
from lighterman.swarm.node.addresses import Place, peer_port_beside, split_port
from lighterman.swarm.node.books import Keys, Membership
from lighterman.swarm.session import Peer
from lighterman.swarm.state import Authority, Cluster, Kind, Network, Node, Put, Write
from lighterman.swarm.store import Store, new_data_key

PEER_ROOT_NAME = "swarm-etcd-ca"


class Born(Struct, frozen=True):
    """A swarm of one node: what it keeps on its disk, and the first objects of the store."""

    membership: Membership
    keys: Keys
    unlock_key: bytes
    writes: list[Write]


def new_swarm(
    place: Place, spec: SwarmSpec, pools: tuple[str, ...], size: int, data_path_port: int, availability: str
) -> Born:
    """Keys, certificates and objects of a new swarm; nothing is written anywhere yet."""
    now, now_ns = dt.datetime.now(dt.UTC), time.time_ns()
    identity = Identity(new_id(), "manager", new_id())
    root, peer_root = certificates.new_root(now), certificates.new_root(now, PEER_ROOT_NAME)
    (request, key), (peer_request, peer_key) = certificates.new_request(), certificates.new_request()
    addresses = tuple({split_port(place.advertise)[0], place.local, "127.0.0.1"})
    unlock_key = new_unlock_key() if spec.encryption_config.auto_lock_managers else b""
    digest = certificates.digest(root.certificate)
    membership = Membership(
        node_id=identity.node_id,
        cluster_id=identity.cluster_id,
        root=root.certificate,
        listen=place.listen,
        advertise=place.advertise,
        local=place.local,
        data_path=place.data_path,
        peer_port=peer_port_beside(split_port(place.listen)[1]),
        raft=spec.raft,
        managers=(Peer(identity.node_id, place.advertise),),
    )
    keys = Keys(
        certificate=certificates.issue(root, request, identity, now=now),
        key=key,
        data_keys=(new_data_key(),),
        peer_certificate=certificates.issue(
            peer_root,
            peer_request,
            identity,
            now=now,
            life=certificates.ROOT_LIFE - dt.timedelta(days=365),
            addresses=addresses,
        ),
        peer_key=peer_key,
        peer_root=peer_root.certificate,
    )
    writes: list[Write] = [
        Put(
            Kind.CLUSTER,
            Cluster(
                id=identity.cluster_id,
                created_ns=now_ns,
                updated_ns=now_ns,
                spec=spec,
                default_addr_pool=pools,
                subnet_size=size,
                data_path_port=data_path_port,
                join_tokens=JoinTokens(new_token(digest), new_token(digest)),
            ),
            0,
        ),
        Put(
            Kind.AUTHORITY,
            Authority(
                id=identity.cluster_id,
                created_ns=now_ns,
                updated_ns=now_ns,
                certificate=root.certificate,
                key=root.key,
                peer_certificate=peer_root.certificate,
                peer_key=peer_root.key,
                unlock_key=unlock_key,
                forced=spec.ca_config.force_rotate,
            ),
            0,
        ),
        Put(
            Kind.NODE,
            Node(
                id=identity.node_id,
                created_ns=now_ns,
                updated_ns=now_ns,
                spec=NodeSpec(role="manager", availability=availability or "active"),
                role="manager",
            ),
            0,
        ),
        Put(Kind.NETWORK, ingress(now_ns), 0),
    ]
    return Born(membership, keys, unlock_key, writes)


def ingress(now_ns: int) -> Network:
    """The network of the routing mesh. Source: newIngressNetwork of SwarmKit."""
    spec = NetworkSpec(
        name="ingress",
        ingress=True,
        driver_configuration=Driver("overlay"),
        ipam_options=IPAMOptions(driver=Driver("default")),
    )
    return Network(id=new_id(), created_ns=now_ns, updated_ns=now_ns, spec=spec)


async def forget_others(store: Store) -> None:
    """After a cluster was made of this manager alone: the other managers are workers, and wherever they
    are.
    """
    state = store.state
    writes: list[Write] = [
        Put(
            Kind.NODE,
            replace(node, spec=replace(node.spec, role="worker"), role="worker"),
            state.revision_of(Kind.NODE, node.id),
        )
        for node in state.nodes.values()
        if node.id != store.node_id and "manager" in (node.role, node.spec.role)
    ]
    await store.commit(writes)
    await store.forget_managers()


def erase_member(engine: Engine) -> None:
    """The data of etcd, where this node was a manager once. Blocks for the disk."""
    for directory in (engine.root / "etcd", engine.exec_root / "etcd"):
        shutil.rmtree(directory, ignore_errors=True)
