"""Connecting a container to a network and disconnecting it, while it runs or rests.

What rests keeps its wish and gets its place at the next start. What runs is plugged in or unplugged at once;
its record comes last, and a failure takes everything back.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from lighterman.apitypes.container import EndpointSettings
from lighterman.apitypes.network import NetworkConnectBody, NetworkDisconnectBody
from lighterman.containers.files import replace_link, rewrite_files
from lighterman.containers.life import Removing
from lighterman.containers.links import Link, links_of, names_of, variables
from lighterman.containers.plan_create import check_endpoint
from lighterman.containers.plan_start import endpoint_wish
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict, InvalidParameter
from lighterman.lib.effects import in_thread, rollback
from lighterman.networks import NetworkRow, NoSuchNetwork, NotConnected, Sandbox

_HOST = "container cannot be disconnected from host network or connected to host network"
_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)
_PRIVATE = (
    "container cannot be connected to multiple networks with one of the networks in private (none) mode"
)


async def connect(cs: Containers, network: str, body: NetworkConnectBody) -> None:
    """Let a container into a network. Source: NetworkConnect.

    Raises: NoSuchContainer, NoSuchNetwork, InvalidParameter, Conflict, EndpointExists and what the networks
    refuse.
    """
    settings = body.endpoint_config or EndpointSettings()
    async with cs.locked(body.container) as container:
        name = _name_of(cs, network)
        check_endpoint(settings)
        wish = endpoint_wish(container, name, settings)
        cs.networks.check(wish)
        _check(
            container,
            cs.networks.find(name) if name in cs.networks else None,
            [cs.networks.find(each) for each in container.endpoints if each in cs.networks],
        )
        if not container.runs:
            endpoints = {**container.endpoints, name: settings}
            await cs.record(container, durable=True, endpoints=endpoints)
            return
        before = _running(cs, container)
        async with rollback() as undo:
            after = await cs.networks.join(container.id, wish)
            row = cs.networks.find(network)  # one of the swarm may be known only now
            undo.push_async_callback(cs.networks.leave, container.id, row.id)
            await in_thread(rewrite_files, cs.settings, container, before, after)
            endpoints = {**container.endpoints, row.name: settings}
            await cs.record(container, durable=True, endpoints=endpoints)


async def disconnect(cs: Containers, network: str, body: NetworkDisconnectBody) -> None:
    """Take a container out of a network. Source: NetworkDisconnect.

    Raises: NoSuchContainer, NoSuchNetwork, InvalidParameter, Conflict, NotConnected, System.
    """
    async with cs.locked(body.container) as container:
        _refuse_the_removed(container)
        try:
            row = cs.networks.find(network)
        except NoSuchNetwork:
            if container.runs and not body.force:
                raise
            row = None  # it may be gone, and the container rests with its name
        name = row.name if row is not None else network
        rest = {each: wish for each, wish in container.endpoints.items() if each != name}
        if row is None or not container.runs:
            if name not in container.endpoints:
                raise NotConnected(container.id, name)
            await cs.record(container, durable=True, endpoints=rest)
            return
        if row.driver == "host" and container.host_config.network_mode == "host":
            raise InvalidParameter(_HOST)
        before = _running(cs, container)
        after = await cs.networks.leave(container.id, row.id)
        await in_thread(rewrite_files, cs.settings, container, before, after)
        await cs.record(container, durable=True, endpoints=rest)


async def renew_links(cs: Containers, container: Container) -> None:
    """Tell those that run and are linked to `container` the address that it has now."""
    sandbox = cs.networks.sandbox(container.id)
    end = (
        next((each for each in sandbox.endpoints if each.network_name == "bridge"), None) if sandbox else None
    )
    if end is None:
        return
    for other in cs:
        if other.runs and other.host_config.links and "bridge" in other.endpoints:
            for link in links_of(other, cs.find):
                if link.container.id == container.id:
                    await in_thread(partial(replace_link, cs.settings, other.id, names_of(link), end.ipv4))


def addresses(cs: Containers, links: Iterable[Link]) -> Iterator[tuple[Link, str]]:
    """The links to those that run, each with the other's address in the default bridge."""
    for link in links:
        other = cs.networks.sandbox(link.container.id)
        for end in other.endpoints if other else ():
            if end.network_name == "bridge":
                yield link, end.ipv4


def link_variables(cs: Containers, container: Container) -> tuple[str, ...]:
    """What the environment of its processes says of those that it is linked to now."""
    links = links_of(container, cs.find) if "bridge" in container.endpoints else ()
    return tuple(
        variable
        for link, address in addresses(cs, links)
        for variable in variables(link, container.name, address)
    )


def _name_of(cs: Containers, network: str) -> str:
    """The network's name; as it stands where it may be the swarm's, which this node need not know yet.

    Raises: NoSuchNetwork, AmbiguousNetwork.
    """
    try:
        return cs.networks.find(network).name
    except NoSuchNetwork:
        if cs.networks.attacher is None:
            raise
        return network


def _check(container: Container, row: NetworkRow | None, others: list[NetworkRow]) -> None:
    _refuse_the_removed(container)
    if container.host_config.network_mode.startswith("container:"):
        raise InvalidParameter(_SHARED)
    if row is not None and row.driver == "host" and container.host_config.network_mode != "host":
        raise InvalidParameter(_HOST)
    driver = row.driver if row is not None else "overlay"
    for other in (other for other in others if row is None or other.id != row.id):
        if "host" in (driver, other.driver):
            raise InvalidParameter(_SHARED)
        if "null" in (driver, other.driver):
            raise InvalidParameter(_PRIVATE)


def _refuse_the_removed(container: Container) -> None:
    if isinstance(container.life, Removing):
        raise Conflict(
            f"Container {container.id} is marked for removal and cannot be connected or disconnected to the "
            "network"
        )


def _running(cs: Containers, container: Container) -> Sandbox:
    sandbox = cs.networks.sandbox(container.id)
    if sandbox is None:
        raise InvalidParameter(_SHARED)
    return sandbox
