"""The ways into a swarm: make one, or join one with a token.

Everything is checked before anything is begun; the books are written last, so that a node that is killed
on its way is in no swarm.
"""

from collections.abc import Sequence

from lighterman.apitypes.swarm import SwarmInitBody, SwarmJoinBody
from lighterman.errdefs import InvalidParameter, System
from lighterman.lib.effects import in_thread
from lighterman.swarm.ca import certificates
from lighterman.swarm.ca.tokens import parse_token
from lighterman.swarm.facade import Engine, sweep
from lighterman.swarm.node import birth, cluster
from lighterman.swarm.node.addresses import (
    Place,
    check_data_path_port,
    check_pools,
    host_addresses,
    join_port,
    local_address,
    peer_port_beside,
    resolve_advertise,
    resolve_data_path,
    resolve_listen,
    split_port,
    with_defaults,
)
from lighterman.swarm.node.books import Keys, Membership
from lighterman.swarm.node.credentials import Credentials
from lighterman.swarm.node.node import Node
from lighterman.swarm.node.wire import (
    ISSUE_PATH,
    IssueAnswer,
    IssueWish,
    Unreachable,
    ask,
    client_context,
    fetch_root,
)


async def init(engine: Engine, body: SwarmInitBody) -> Node:
    """A swarm with this node alone, which is yet to `begin`. Raises: BadAddress, InvalidParameter,
    Unimplemented, System.
    """
    spec = cluster.init_spec(body)
    place = await place_of_init(engine, body)
    pools, size = check_pools(body.default_addr_pool, body.subnet_size)
    port = check_data_path_port(body.data_path_port)
    cluster.check_availability(body.availability)
    born = birth.new_swarm(place, spec, pools, size, port, body.availability)
    node = Node(Credentials(engine, born.membership, born.keys, born.unlock_key))
    try:
        node.managing.bind()
        await in_thread(sweep, engine)
        manager = await node.managing.start()
        await manager.store.commit(born.writes)
        await node.credentials.save()
    except BaseException:
        await node.close()
        await node.credentials.erase()
        raise
    return node


async def join(engine: Engine, body: SwarmJoinBody) -> Node:
    """A node of the swarm that a token belongs to; it is yet to `begin`.

    Raises: BadAddress, InvalidParameter, System.
    """
    membership, keys, role = await _admitted(engine, body)
    await in_thread(sweep, engine)
    node = Node(Credentials(engine, membership, keys))
    try:
        if role == "manager":
            await node.managing.become()
        await node.credentials.save()
    except BaseException:
        await node.close()
        await node.credentials.erase()
        raise
    return node


async def place_of_init(engine: Engine, body: SwarmInitBody) -> Place:
    """Where a node that makes a swarm is. Raises: BadAddress, InvalidParameter."""
    host = await in_thread(host_addresses)
    listen_host, port = resolve_listen(_listen(body.listen_addr), host)
    advertise = resolve_advertise(body.advertise_addr, port, engine.default_advertise_addr, host)
    data_path = resolve_data_path(body.data_path_addr, host)
    local = local_address(listen_host, advertise[0], host)
    return Place(join_port(listen_host, port), join_port(*advertise), local, data_path)


async def _admitted(engine: Engine, body: SwarmJoinBody) -> tuple[Membership, Keys, str]:
    """What a node has from the manager that lets it in: its membership, its keys and its role."""
    listen = _listen(body.listen_addr)
    if not body.remote_addrs:
        raise InvalidParameter("at least 1 RemoteAddr is required to join")
    remotes = [_remote(addr) for addr in body.remote_addrs]
    cluster.check_availability(body.availability)
    host = await in_thread(host_addresses)
    listen_host, listen_port = resolve_listen(listen, host)
    advertise = ""
    if body.advertise_addr:
        advertise = join_port(*resolve_advertise(body.advertise_addr, listen_port, "", host))
    data_path = resolve_data_path(body.data_path_addr, host)
    digest = parse_token(body.join_token).digest
    request, key = certificates.new_request()
    wish = IssueWish(request, body.join_token, body.availability)
    answer = await _first_answer(remotes, digest, wish)
    # Whoever does not say where it is found is found where the manager has seen it come from.
    seen = advertise or join_port(answer.seen, listen_port)
    membership = Membership(
        node_id=answer.node_id,
        cluster_id=answer.cluster_id,
        root=answer.root,
        listen=join_port(listen_host, listen_port),
        advertise=seen,
        local=split_port(seen)[0],
        data_path=data_path,
        peer_port=peer_port_beside(listen_port),
        managers=answer.managers,
    )
    return membership, Keys(certificate=answer.certificate, key=key), answer.role


async def _first_answer(remotes: Sequence[str], digest: str, wish: IssueWish) -> IssueAnswer:
    """The certificate that one of the managers gives. Raises: Unreachable, System."""
    problem: System = Unreachable("no manager was named")
    for addr in remotes:
        try:
            root = await fetch_root(addr, digest)
            return await ask(addr, ISSUE_PATH, wish, IssueAnswer, client_context(root))
        except Unreachable as error:
            problem = error
    raise problem


def _listen(text: str) -> str:
    try:
        return with_defaults(text)
    except InvalidParameter as error:
        raise InvalidParameter(f'invalid ListenAddr "{text}": {error}') from None


def _remote(text: str) -> str:
    try:
        return with_defaults(text)
    except InvalidParameter as error:
        raise InvalidParameter(f'invalid remoteAddr "{text}": {error}') from None
