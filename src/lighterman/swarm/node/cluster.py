"""The swarm as a whole, in the API's words: its settings, its tokens, its locks.

Source: manager/controlapi/cluster.go of SwarmKit and daemon/cluster/swarm.go of moby, whose texts these are.
"""

import datetime as dt
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lighterman.apitypes.service import Version
from lighterman.apitypes.swarm import (
    CAConfig,
    ClusterInfo,
    DispatcherConfig,
    EncryptionConfig,
    JoinTokens,
    OrchestrationConfig,
    RaftConfig,
    Swarm,
    SwarmInitBody,
    SwarmSpec,
    TLSInfo,
)
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.lib.go_time import rfc3339_nano
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.tokens import human_key, new_token, new_unlock_key
from lighterman.swarm.node import data_keys, rotation
from lighterman.swarm.node.issue import AVAILABILITIES, authority_of, cluster_of
from lighterman.swarm.state import Authority, Kind, Put, Write
from lighterman.swarm.store import OutOfSequence

if TYPE_CHECKING:
    from lighterman.swarm.node.manager import Manager

_INVALID = "rpc error: code = InvalidArgument desc = "
_DEFAULTS = SwarmSpec(
    name="default",
    orchestration=OrchestrationConfig(5),
    raft=RaftConfig(10000, 0, 500, 10, 1),
    dispatcher=DispatcherConfig(5_000_000_000),
    ca_config=CAConfig(7_776_000_000_000_000),
)
TWO_MANAGERS = (
    "WARNING: Running Swarm in a two-manager configuration. This configuration provides\n"
    "         no fault tolerance, and poses a high risk to lose control over the cluster.\n"
    "         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the\n"
    "         Swarm for fault-tolerance."
)


STORE_FULL = "WARNING: The swarm's store is full. Nothing can be changed before there is room again."


def inspect_info(manager: "Manager") -> ClusterInfo:
    """The swarm without its tokens. Raises: NotReady."""
    told = inspect(manager)
    return ClusterInfo(**{name: getattr(told, name) for name in ClusterInfo.__struct_fields__})


def inspect(manager: "Manager") -> Swarm:
    """Raises: NotReady."""
    state = manager.store.state
    cluster, authority = cluster_of(state), authority_of(state)
    signs = authority.rotation.certificate if authority.rotation else authority.certificate
    subject, public_key = certificates.issuer_of(signs)
    hidden = replace(cluster.spec.ca_config, signing_ca_cert="", signing_ca_key="")
    return Swarm(
        id=cluster.id,
        version=Version(state.revision_of(Kind.CLUSTER, cluster.id)),
        created_at=rfc3339_nano(cluster.created_ns),
        updated_at=rfc3339_nano(cluster.updated_ns),
        spec=replace(cluster.spec, ca_config=hidden),
        tls_info=TLSInfo(authority.certificate, subject, public_key),
        root_rotation_in_progress=authority.rotation is not None,
        default_addr_pool=list(cluster.default_addr_pool),
        subnet_size=cluster.subnet_size,
        data_path_port=cluster.data_path_port,
        join_tokens=cluster.join_tokens,
    )


def unlock_key(manager: "Manager") -> str:
    """As people see it; "" when managers do not lock. Raises: NotReady."""
    key = authority_of(manager.store.state).unlock_key
    return human_key(key) if key else ""


async def update(
    manager: "Manager",
    spec: SwarmSpec,
    *,
    version: int,
    rotate_worker_token: bool,
    rotate_manager_token: bool,
    rotate_unlock_key: bool,
) -> None:
    """Other settings, other tokens, another unlock key, another root.

    Raises: InvalidParameter, Unimplemented, OutOfSequence, NotReady, NoLeader, TooFewKeepers.
    """
    _check_name(spec)
    wish = merged(spec, _bare(spec))
    check(wish)
    state, now_ns = manager.store.state, time.time_ns()
    cluster, authority = cluster_of(state), authority_of(state)
    authority = rotation.wished(authority, wish.ca_config, dt.datetime.now(dt.UTC))
    authority = _locked(authority, on=wish.encryption_config.auto_lock_managers, rotate=rotate_unlock_key)
    revision = state.revision_of(Kind.AUTHORITY, authority.id)
    if authority.unlock_key and authority.unlock_key != authority_of(state).unlock_key:
        if version != state.revision_of(Kind.CLUSTER, cluster.id):
            raise OutOfSequence(Kind.CLUSTER, cluster.id)
        authority = replace(authority, data_key=await data_keys.spread(manager))
        manager.store.keyring.use(authority.data_key)
    digest, tokens = certificates.digest(authority.certificate), cluster.join_tokens
    tokens = JoinTokens(
        new_token(digest) if rotate_worker_token else tokens.worker,
        new_token(digest) if rotate_manager_token else tokens.manager,
    )
    writes: list[Write] = [
        Put(
            Kind.CLUSTER,
            replace(cluster, spec=_without_keys(wish), join_tokens=tokens, updated_ns=now_ns),
            version,
        )
    ]
    if authority != state.authority:
        writes.append(Put(Kind.AUTHORITY, replace(authority, updated_ns=now_ns), revision))
    await manager.store.commit(writes)


def init_spec(body: SwarmInitBody) -> SwarmSpec:
    """The settings of a new swarm. Raises: InvalidParameter, Unimplemented."""
    _check_name(body.spec)
    spec = merged(body.spec, _DEFAULTS)
    lock = EncryptionConfig(body.auto_lock_managers or body.spec.encryption_config.auto_lock_managers)
    spec = replace(spec, encryption_config=lock)
    check(spec)
    if spec.ca_config.signing_ca_cert or spec.ca_config.signing_ca_key:
        raise Unimplemented("a swarm that begins with a CA certificate of its own is not implemented")
    return spec


def merged(spec: SwarmSpec, base: SwarmSpec) -> SwarmSpec:
    """What is not said in `spec` stays as it is in `base`. Source: MergeSwarmSpecToGRPC of moby."""
    raft, ca = spec.raft, spec.ca_config
    history = spec.orchestration.task_history_retention_limit
    keep = raft.keep_old_snapshots
    return replace(
        spec,
        name=spec.name or base.name,
        labels=spec.labels or base.labels,
        orchestration=base.orchestration if history is None else spec.orchestration,
        raft=RaftConfig(
            raft.snapshot_interval or base.raft.snapshot_interval,
            base.raft.keep_old_snapshots if keep is None else keep,
            raft.log_entries_for_slow_followers or base.raft.log_entries_for_slow_followers,
            raft.election_tick or base.raft.election_tick,
            raft.heartbeat_tick or base.raft.heartbeat_tick,
        ),
        dispatcher=DispatcherConfig(spec.dispatcher.heartbeat_period or base.dispatcher.heartbeat_period),
        ca_config=replace(ca, node_cert_expiry=ca.node_cert_expiry or base.ca_config.node_cert_expiry),
    )


def check(spec: SwarmSpec) -> None:
    """Raises: InvalidParameter, Unimplemented."""
    ca = spec.ca_config
    if 0 < ca.node_cert_expiry < 3_600_000_000_000:
        raise InvalidParameter(_INVALID + "minimum certificate expiry time is: 1h0m0s")
    if spec.dispatcher.heartbeat_period < 0:
        raise InvalidParameter(_INVALID + "heartbeat time period cannot be a negative duration")
    raft = spec.raft
    if raft.heartbeat_tick < 1 or raft.election_tick < 5 * raft.heartbeat_tick:
        raise InvalidParameter(
            f"{_INVALID}election tick ({raft.election_tick}) must be at least five times the heartbeat tick "
            f"({raft.heartbeat_tick})"
        )
    if raft.election_tick > 500:
        raise InvalidParameter(f"{_INVALID}election tick ({raft.election_tick}) must be at most 500")
    if min(raft.snapshot_interval, raft.keep_old_snapshots or 0) < 0:
        raise InvalidParameter(_INVALID + "settings of the consensus cannot be negative")
    if raft.log_entries_for_slow_followers != 500:
        raise Unimplemented("another number of log entries for slow followers than 500 is not implemented")
    for external in ca.external_cas:
        if external.protocol.lower() != "cfssl":
            raise InvalidParameter(f'invalid protocol: "{external.protocol}"')
        raise Unimplemented(
            f"external certificate authorities are not supported ({external.url}): the swarm's managers sign "
            "certificates themselves, with a root of your own after `docker swarm ca --rotate --ca-cert`"
        )


def check_availability(availability: str) -> None:
    """Of a node that begins or joins. Raises: InvalidParameter."""
    if availability and availability not in AVAILABILITIES:
        raise InvalidParameter(f'invalid Availability: "{availability}"')


def _check_name(spec: SwarmSpec) -> None:
    if spec.name not in ("", "default"):
        raise InvalidParameter('swarm spec must be named "default"')


def _bare(spec: SwarmSpec) -> SwarmSpec:
    """An update says everything: what is missing in it has its default."""
    return _DEFAULTS


def _without_keys(spec: SwarmSpec) -> SwarmSpec:
    """The authority keeps them; the settings are read by everybody."""
    return replace(spec, ca_config=replace(spec.ca_config, signing_ca_cert="", signing_ca_key=""))


def _locked(authority: Authority, *, on: bool, rotate: bool) -> Authority:
    if not on:
        return replace(authority, unlock_key=b"")
    if not authority.unlock_key or rotate:
        return replace(authority, unlock_key=new_unlock_key())
    return authority
