"""What a node has to do, made of the state; and what of it is different from what it was told. Pure.

A node gets its tasks, the secrets and configs of those that are not over, and the overlay networks that it
takes part in with everything in them: peers, endpoints, services. So tunnels, names and balancing come from
the state alone, and what is true of a network is true on all nodes at once.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from lighterman.apitypes.service import TaskSpec
from lighterman.swarm.session import (
    AssignedConfig,
    AssignedNetwork,
    AssignedSecret,
    AssignedTask,
    Assignments,
    Attachment,
    Endpoint,
    NetworkPeer,
    NetworkService,
    PublishedPort,
    Removed,
)
from lighterman.swarm.state import Key, Kind, Network, NetworkStatus, Service, State, Task, TaskState

T = TypeVar("T")
DEFAULT_MTU = 1450
MTU_OPTION = "com.docker.network.driver.mtu"
ENCRYPTED_OPTION = "encrypted"
_OWN = frozenset({Kind.TASK, Kind.TASK_STATUS, Kind.TEMPLATE, Kind.SECRET, Kind.CONFIG})
"""Kinds of which a change concerns certain nodes only."""
_NOBODYS = frozenset({Kind.SESSION, Kind.NODE_STATE})


class Assigned(NamedTuple):
    """All that a node has to do, by id."""

    tasks: dict[str, AssignedTask]
    secrets: dict[str, AssignedSecret]
    configs: dict[str, AssignedConfig]
    networks: dict[str, AssignedNetwork]


NOTHING = Assigned({}, {}, {}, {})


def assigned(state: State, node_id: str, networks: "Networks") -> Assigned:
    """What the node has to do as the state is now."""
    tasks = [task for task in state.tasks_of_node(node_id) if task.state >= TaskState.ASSIGNED]
    live = [task for task in tasks if is_live(state, task)]
    specs = [template.spec for task in live if (template := state.templates.get(task.template_id))]
    wanted = {place.network_id for task in live for place in task.attached}
    own = state.node_addresses.get(node_id)
    wanted.update(own.addresses if own else ())
    return Assigned(
        {task.id: made for task in tasks if (made := assigned_task(state, task)) is not None},
        {each.id: each for each in _secrets(state, specs)},
        {each.id: each for each in _configs(state, specs)},
        {each.id: each for id in wanted if (each := networks.seen_from(node_id, id)) is not None},
    )


def is_live(state: State, task: Task) -> bool:
    """Whether something of the task is to be on its node: it is neither over nor wished to be."""
    return state.seen(task).state <= TaskState.RUNNING and task.desired <= TaskState.COMPLETE


def assigned_task(state: State, task: Task) -> AssignedTask | None:
    """The task, complete. None while its template is not known, which comes with the same transaction."""
    template = state.templates.get(task.template_id)
    if template is None:
        return None
    service, cluster = state.services.get(task.service_id), state.cluster
    ports = () if template.endpoint is None else template.endpoint.ports
    default = cluster.spec.task_defaults.log_driver if cluster is not None else None
    middle = str(task.slot) if task.slot else task.node_id
    return AssignedTask(
        id=task.id,
        desired_state=task.desired.word,
        spec=template.spec,
        name=f"{task.service_name}.{middle}.{task.id}" if task.service_name else task.id,
        service_id=task.service_id,
        service_name=task.service_name,
        service_labels=service.spec.labels if service is not None else {},
        slot=task.slot,
        attachments=tuple(_attachments(state, task)),
        host_ports=tuple(port for port in ports if port.publish_mode == "host"),
        log_driver=template.spec.log_driver or default,
        registry_auth=service.registry_auth if service is not None else "",
        generic_resources=task.generic_resources,
    )


def _attachments(state: State, task: Task) -> Iterator[Attachment]:
    for place in task.attached:
        network = state.networks.get(place.network_id)
        if network is not None:
            yield Attachment(
                network_id=network.id,
                network_name=network.spec.name,
                addresses=place.addresses,
                mac=mac_of(place.addresses),
                aliases=place.aliases,
            )


def mac_of(addresses: Iterable[str]) -> str:
    """The MAC address that belongs to an IPv4 address, as libnetwork makes it; "" without one."""
    for text in addresses:
        address = ipaddress.ip_interface(text).ip
        if address.version == 4:
            return "02:42:" + address.packed.hex(":")
    return ""


def _secrets(state: State, specs: Iterable[TaskSpec]) -> Iterator[AssignedSecret]:
    for id in sorted(
        {each.secret_id for spec in specs if spec.container_spec for each in spec.container_spec.secrets}
    ):
        if (secret := state.secrets.get(id)) is not None:
            templating = secret.spec.templating.name if secret.spec.templating else ""
            yield AssignedSecret(id, secret.spec.name, secret.spec.data, templating)


def _configs(state: State, specs: Iterable[TaskSpec]) -> Iterator[AssignedConfig]:
    for id in sorted(
        {each.config_id for spec in specs if spec.container_spec for each in spec.container_spec.configs}
    ):
        if (config := state.configs.get(id)) is not None:
            templating = config.spec.templating.name if config.spec.templating else ""
            yield AssignedConfig(id, config.spec.name, config.spec.data, templating)


class Networks:
    """The overlay networks as the state has them now: made once for all nodes, thrown away with a change."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._tasks: dict[str, list[tuple[Task, tuple[str, ...], tuple[str, ...]]]] | None = None
        self._made: dict[str, AssignedNetwork | None] = {}

    def seen_from(self, node_id: str, id: str) -> AssignedNetwork | None:
        """The network with the node's own address; None for one that has no addresses yet."""
        if id not in self._made:
            self._made[id] = self._make(id)
        network = self._made[id]
        if network is None:
            return None
        own = self._state.node_addresses.get(node_id)
        return _replaced(network, own.addresses.get(id, "") if own else "")

    def _make(self, id: str) -> AssignedNetwork | None:
        state = self._state
        network, status = state.networks.get(id), state.network_statuses.get(id)
        if network is None or status is None or not status.vni or not status.ipam:
            return None
        there = self._attached().get(id, [])
        nodes = {task.node_id for task, _, _ in there}
        nodes.update(own.id for own in state.node_addresses.values() if id in own.addresses)
        v4, v6 = _pools(status)
        options = network.spec.driver_configuration.options if network.spec.driver_configuration else {}
        return AssignedNetwork(
            id=id,
            name=network.spec.name,
            driver="overlay",
            subnet=v4[0],
            gateway=v4[1],
            vni=status.vni,
            mtu=int(options.get(MTU_OPTION, "") or DEFAULT_MTU),
            encrypted=ENCRYPTED_OPTION in options,
            internal=network.spec.internal,
            attachable=network.spec.attachable,
            ingress=network.spec.ingress,
            ipv6_subnet=v6[0],
            labels=network.spec.labels,
            options=options,
            peers=tuple(self._peers(id, nodes)),
            endpoints=tuple(self._endpoints(there)),
            services=tuple(self._services(network, {task.service_id for task, _, _ in there})),
            data_path_port=state.cluster.data_path_port if state.cluster else 4789,
        )

    def _attached(self) -> dict[str, list[tuple[Task, tuple[str, ...], tuple[str, ...]]]]:
        """Tasks that are on a node and live, by the network that they sit in, with addresses and aliases."""
        if self._tasks is None:
            self._tasks = {}
            for task in self._state.tasks.values():
                if task.node_id and task.state >= TaskState.ASSIGNED and is_live(self._state, task):
                    for place in task.attached:
                        found = self._tasks.setdefault(place.network_id, [])
                        found.append((task, place.addresses, place.aliases))
        return self._tasks

    def _peers(self, network_id: str, nodes: Collection[str]) -> Iterator[NetworkPeer]:
        for id in sorted(nodes):
            status, own = self._state.node_statuses.get(id), self._state.node_addresses.get(id)
            if status is not None and (status.data_path_addr or status.addr):
                address = own.addresses.get(network_id, "") if own else ""
                yield NetworkPeer(id, status.data_path_addr or status.addr, address)

    def _endpoints(
        self, there: Iterable[tuple[Task, tuple[str, ...], tuple[str, ...]]]
    ) -> Iterator[Endpoint]:
        for task, addresses, aliases in sorted(there, key=lambda each: each[0].id):
            if not addresses:
                continue
            middle = str(task.slot) if task.slot else task.node_id
            yield Endpoint(
                task_id=task.id,
                node_id=task.node_id,
                name=f"{task.service_name}.{middle}.{task.id}" if task.service_name else task.id,
                address=addresses[0],
                mac=mac_of(addresses),
                service_id=task.service_id,
                service_name=task.service_name,
                aliases=aliases,
                healthy=self._state.seen(task).state is TaskState.RUNNING
                and task.desired <= TaskState.COMPLETE,
            )

    def _services(self, network: Network, services: Collection[str]) -> Iterator[NetworkService]:
        """Those with a virtual address in the network, or with tasks in it."""
        state = self._state
        for service in sorted(state.services.values(), key=lambda each: each.id):
            status = state.service_statuses.get(service.id)
            endpoint = status.endpoint if status else None
            vips = [] if endpoint is None else endpoint.virtual_ips
            vip = next((each.addr for each in vips if each.network_id == network.id), "")
            if not vip and service.id not in services:
                continue
            ports = () if endpoint is None or not network.spec.ingress else endpoint.ports
            yield NetworkService(
                service_id=service.id,
                name=service.spec.name,
                vip=vip,
                aliases=tuple(_aliases(service, network)),
                ports=tuple(
                    PublishedPort(port.protocol, port.target_port, port.published_port)
                    for port in ports
                    if port.publish_mode == "ingress"
                ),
            )


def _aliases(service: Service, network: Network) -> Iterator[str]:
    for wish in service.spec.task_template.networks or service.spec.networks:
        if wish.target in (network.id, network.spec.name):
            yield from wish.aliases


def _pools(status: NetworkStatus) -> tuple[tuple[str, str], tuple[str, str]]:
    """Subnet and gateway of IPv4 and of IPv6; "" for what there is not."""
    v4 = v6 = ("", "")
    for pool in status.ipam:
        if ":" in pool.subnet:
            v6 = v6 if v6[0] else (pool.subnet, pool.gateway)
        else:
            v4 = v4 if v4[0] else (pool.subnet, pool.gateway)
    return v4, v6


def _replaced(network: AssignedNetwork, node_address: str) -> AssignedNetwork:
    if network.node_address == node_address:
        return network
    return replace(network, node_address=node_address)


def difference(before: Assigned, now: Assigned, sequence: int) -> Assignments | None:
    """What the node has to be told; None when nothing is different."""
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = list(zip(before, now, strict=True))
    changed = [_changed(a, b) for a, b in pairs]
    removed = Removed(*(tuple(id for id in a if id not in b) for a, b in pairs))
    if not any(changed) and removed == Removed():
        return None
    tasks, secrets, configs, networks = changed
    return Assignments(
        sequence, tasks=tasks, secrets=secrets, configs=configs, networks=networks, removed=removed
    )


def everything(now: Assigned, sequence: int) -> Assignments:
    """The first word of a session."""
    return Assignments(
        sequence,
        full=True,
        tasks=tuple(now.tasks.values()),
        secrets=tuple(now.secrets.values()),
        configs=tuple(now.configs.values()),
        networks=tuple(now.networks.values()),
    )


def _changed(before: Mapping[str, T], now: Mapping[str, T]) -> tuple[Any, ...]:
    return tuple(value for id, value in now.items() if before.get(id) != value)


def concerned(state: State, changed: Iterable[Key], told: Mapping[str, Assigned]) -> frozenset[str] | None:
    """The nodes whose work may be different after a change; None: all. `told` is what each was told last."""
    nodes, networks = set[str](), set[str]()
    for kind, id in changed:
        if kind in _NOBODYS:
            continue
        if kind not in _OWN:
            return None
        if kind in (Kind.TASK, Kind.TASK_STATUS):
            task = state.tasks.get(id)
            if task is None:
                nodes.update(node for node, work in told.items() if id in work.tasks)
                networks.update(
                    network.id
                    for work in told.values()
                    for network in work.networks.values()
                    if any(end.task_id == id for end in network.endpoints)
                )
            elif task.node_id:
                nodes.add(task.node_id)
                networks.update(place.network_id for place in task.attached)
    for node, work in told.items():
        if not networks.isdisjoint(work.networks):
            nodes.add(node)
    return frozenset(nodes)
