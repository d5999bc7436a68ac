"""Networks of the swarm, in the form of `/networks`. Source: SwarmKit, controlapi/network.go."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

from lighterman.apitypes import network as wire
from lighterman.apitypes.service import Driver, IPAMConfig, IPAMOptions, NetworkConfigReference, NetworkSpec
from lighterman.errdefs import Conflict, Forbidden, InvalidParameter
from lighterman.lib.filters import Filters
from lighterman.lib.go_time import rfc3339_nano
from lighterman.swarm.control import view
from lighterman.swarm.control.check import check_name
from lighterman.swarm.control.find import one
from lighterman.swarm.control.refusals import AlreadyExists, FailedPrecondition, InvalidArgument, NotSupported
from lighterman.swarm.control.stores import Store
from lighterman.swarm.identity import new_id
from lighterman.swarm.orchestrate.allocate import (
    FIRST_VNI,
    LAST_VNI,
    OVERLAP,
    PREDEFINED,
    VNI_OPTION,
    ingress_network,
    needs_ingress,
    overlaps,
)
from lighterman.swarm.state import Delete, Kind, Network, Put, State, TaskState
from lighterman.swarm.store import NameTaken

_PATIENCE_S = 1.0
_PER_NODE = ("macvlan", "ipvlan", "bridge", "host")
"""Drivers whose networks are made on each node from a configuration that is there."""
MTU_OPTION = "com.docker.network.driver.mtu"


def list_(state: State, filters: Filters) -> list[wire.Network]:
    """The swarm's networks that the list shows. Names and ids match in part, as with those of a node."""
    dangling = filters.flag("dangling", default=False)
    return [
        shown(state, network)
        for network in state.networks.values()
        if filters.exact("driver", view.driver_of(network))
        and filters.exact("scope", "swarm")
        and filters.exact("type", "builtin" if network.spec.ingress else "custom")
        and filters.labels(network.spec.labels)
        and _in_part(filters.get("id"), network.id)
        and _in_part(filters.get("name"), network.spec.name)
        and ("dangling" not in filters or dangling == _is_dangling(state, network))
    ]


def _in_part(wishes: Iterable[str], value: str) -> bool:
    wanted = tuple(wishes)
    return not wanted or any(wish in value for wish in wanted)


def _is_dangling(state: State, network: Network) -> bool:
    return not network.spec.ingress and not _users(state, network.id)


def find(state: State, ref: str) -> Network | None:
    """The network by id, name or beginning of its id. Raises Ambiguous."""
    found = state.find(Kind.NETWORK, ref, "network")
    return found if isinstance(found, Network) else None


def has_name(state: State, name: str) -> bool:
    """Whether a network of the swarm is called so."""
    return state.id_of(Kind.NETWORK, name) is not None


def shown(state: State, it: Network) -> wire.Network:
    """As NetworkInspect has it; what is in it on this node is known to the node only."""
    status = state.network_statuses.get(it.id)
    told = view.network(state, it)
    options = it.spec.ipam_options
    return wire.Network(
        name=it.spec.name,
        id=it.id,
        created=rfc3339_nano(it.created_ns),
        scope="swarm",
        driver=view.driver_of(it),
        enable_ipv6=it.spec.ipv6_enabled,
        ipam=wire.IPAM(
            driver=(options.driver.name if options else "") or "default",
            options=(options.driver.options if options else None) or None,
            config=[
                wire.IPAMConfig(subnet=pool.subnet, ip_range=pool.range, gateway=pool.gateway)
                for pool in (status.ipam if status else ())
            ],
        ),
        internal=it.spec.internal,
        attachable=it.spec.attachable,
        ingress=it.spec.ingress,
        config_from=wire.ConfigReference(it.spec.config_from.network if it.spec.config_from else ""),
        config_only=False,
        containers=None,
        options=told.driver_state.options or None,
        labels=it.spec.labels or None,
    )


async def create(store: Store, body: wire.NetworkCreateBody) -> str:
    """Make a network of the swarm; its id. Returns when the leader has given it a subnet, or is slow.

    Raises: Forbidden, Conflict (the name is taken), InvalidParameter, Unimplemented.
    """
    if not body.name.strip():
        raise InvalidParameter(f"invalid name: {body.name}")
    if body.name in (*PREDEFINED, "default"):
        raise Forbidden(f"{body.name} is a pre-defined network and cannot be created")
    if has_name(store.state, body.name):
        raise Conflict(f"network with name {body.name} already exists")
    if body.driver == "overlay" and body.scope == "local":
        raise Forbidden("cannot downgrade network scope for overlay networks")
    if body.ingress and body.driver != "overlay":
        raise Forbidden("Ingress network can only be global scope network")
    spec = _spec(body)
    _check(spec)
    if spec.ingress and (present := ingress_network(store.state)) is not None:
        raise AlreadyExists(f"ingress network ({present.id}) is already present")
    pools = spec.ipam_options.configs if spec.ipam_options else []
    if any(overlaps(store.state, pool.subnet) for pool in pools):
        raise Forbidden(OVERLAP)
    network = Network(id=new_id(), created_ns=time.time_ns(), spec=spec)
    with store.changes() as changes:
        try:
            await store.commit([Put(Kind.NETWORK, network, 0)])
        except NameTaken:
            raise Conflict(f"network with name {spec.name} already exists") from None
        with contextlib.suppress(TimeoutError):  # without a leader it comes later
            async with asyncio.timeout(_PATIENCE_S):
                while network.id not in store.state.network_statuses:
                    await changes.next()
    return network.id


def _spec(body: wire.NetworkCreateBody) -> NetworkSpec:
    ipam = None
    if body.ipam is not None:
        ipam = IPAMOptions(
            driver=Driver(name=body.ipam.driver or "default", options=body.ipam.options or {}),
            configs=[
                IPAMConfig(subnet=each.subnet, range=each.ip_range, gateway=each.gateway)
                for each in body.ipam.config or []
            ],
        )
    return NetworkSpec(
        name=body.name,
        labels=body.labels or {},
        driver_configuration=Driver(name=body.driver or "overlay", options=body.options or {}),
        ipv6_enabled=bool(body.enable_ipv6),
        internal=body.internal,
        attachable=body.attachable,
        ingress=body.ingress,
        ipam_options=ipam,
        config_from=NetworkConfigReference(body.config_from.network) if body.config_from else None,
    )


def _check(spec: NetworkSpec) -> None:
    driver = spec.driver_configuration.name if spec.driver_configuration else "overlay"
    if spec.ingress and driver != "overlay":
        raise NotSupported("only overlay driver is currently supported for ingress network")
    if spec.attachable and spec.ingress:
        raise InvalidArgument("ingress network cannot be attachable")
    check_name(spec.name)
    if driver != "overlay":
        if driver in _PER_NODE:
            raise NotSupported(f"networks of the driver {driver} with scope swarm are not supported")
        raise InvalidArgument(f"legacy plugin {driver} of type NetworkDriver is not supported in swarm mode")
    if spec.ipv6_enabled:
        raise NotSupported("overlay networks with IPv6 are not supported")
    _check_options(spec.driver_configuration.options if spec.driver_configuration else {})
    if spec.ipam_options is not None:
        if spec.ipam_options.driver.name != "default":
            raise InvalidArgument(f"plugin {spec.ipam_options.driver.name} not supported")
        for config in spec.ipam_options.configs:
            _check_pool(config)
            if ":" in config.subnet:
                raise NotSupported("overlay networks with IPv6 are not supported")
        if len(spec.ipam_options.configs) > 1:
            raise NotSupported("overlay networks with more than one subnet are not supported")


def _check_options(options: Mapping[str, str]) -> None:
    if "encrypted" in options:
        raise NotSupported("encrypted overlay networks are not supported, and are not made in the clear")
    mtu = options.get(MTU_OPTION, "1450")
    if not mtu.isdecimal() or not 68 <= int(mtu) <= 65535:
        raise InvalidArgument(f"invalid MTU number: {mtu}")
    vni = options.get(VNI_OPTION, str(FIRST_VNI))
    if not vni.isdecimal() or not 0 < int(vni) <= LAST_VNI:
        raise InvalidArgument(f"invalid vxlan id value {vni!r} passed")


def _check_pool(config: IPAMConfig) -> None:
    try:
        subnet = ip_network(config.subnet, strict=False)
    except ValueError:
        raise InvalidArgument(f"ipam configuration: invalid subnet {config.subnet}") from None
    if config.range:
        try:
            inside = ip_network(config.range, strict=False)[0] in subnet
        except ValueError:
            raise InvalidArgument(f"ipam configuration: invalid range {config.range}") from None
        if not inside:
            raise InvalidArgument(
                f"ipam configuration: subnet {config.subnet} does not contain range {config.range}"
            )
    if config.gateway:
        try:
            inside = ip_address(config.gateway) in subnet
        except ValueError:
            raise InvalidArgument(f"ipam configuration: invalid gateway {config.gateway}") from None
        if not inside:
            raise InvalidArgument(
                f"ipam configuration: subnet {config.subnet} does not contain gateway {config.gateway}"
            )


async def remove(store: Store, ref: str) -> None:
    """Forget a network that no service has and no task needs. Raises: NoSuchObject, FailedPrecondition."""
    state = store.state
    network = one(state, Kind.NETWORK, ref, Network)
    if network.spec.ingress:
        for service in state.services.values():
            if needs_ingress(service.spec.endpoint_spec):
                raise FailedPrecondition(
                    f"ingress network cannot be removed because service {service.id} depends on it"
                )
    elif users := _users(state, network.id):
        raise FailedPrecondition(f"network {network.id} is in use by {users[0]}")
    await store.commit([Delete(Kind.NETWORK, network.id)])


def _users(state: State, network_id: str) -> list[str]:
    """Who has the network: services, and tasks that go on. One whose service was removed is on its way."""
    users = [
        f"service {service.id}"
        for service in state.services.values()
        if any(
            each.target == network_id
            for each in (*service.spec.task_template.networks, *service.spec.networks)
        )
    ]
    for task in state.tasks.values():
        goes_on = task.desired <= TaskState.COMPLETE and state.seen(task).state <= TaskState.RUNNING
        orphan = bool(task.service_id) and task.service_id not in state.services
        if goes_on and not orphan and any(place.network_id == network_id for place in task.attached):
            users.append(f"task {task.id}")
    return users


async def prune(store: Store, filters: Filters) -> list[str]:
    """Forget networks that nobody needs; their names. The routing mesh's stays. Raises InvalidParameter."""
    until_ns = filters.until_ns(time.time_ns())
    deleted = []
    for network in list(store.state.networks.values()):
        if network.spec.ingress or _users(store.state, network.id):
            continue
        if filters.prunes(network.spec.labels, created_ns=network.created_ns, until_ns=until_ns):
            await store.commit([Delete(Kind.NETWORK, network.id)])
            deleted.append(network.spec.name)
    return deleted
