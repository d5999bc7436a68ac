"""Plain containers in networks of the swarm: each is a task of its own, on the node where it runs.

Source: SwarmKit, manager/resourceapi/allocator.go.
"""

import time
from ipaddress import ip_address

from lighterman.apitypes.service import NetworkAttachmentConfig, NetworkAttachmentSpec, TaskSpec
from lighterman.errdefs import Forbidden, NotFound
from lighterman.swarm.control.refusals import InvalidArgument
from lighterman.swarm.identity import new_id
from lighterman.swarm.session import AttachWanted
from lighterman.swarm.state import Delete, Kind, Network, Put, Task, TaskState, template
from lighterman.swarm.store import Store


async def attach(store: Store, node_id: str, wish: AttachWanted) -> None:
    """Make the task of a container that wants into a network; its address comes with the assignment.

    Raises: NotFound, Forbidden (not attachable), InvalidArgument, NoLeader.
    """
    network = store.state.find(Kind.NETWORK, wish.target, "network")
    if not isinstance(network, Network):
        raise NotFound(f"rpc error: code = NotFound desc = network {wish.target} not found")
    if not network.spec.attachable:
        text = f"network {wish.target} not manually attachable"
        raise Forbidden(f"rpc error: code = PermissionDenied desc = {text}")
    for text in wish.addresses:
        _check_address(text)
    made = template(
        TaskSpec(
            network_attachment_spec=NetworkAttachmentSpec(wish.container_id),
            networks=[NetworkAttachmentConfig(target=network.id, aliases=list(wish.aliases))],
            runtime="attachment",
        ),
        None,
    )
    now_ns = time.time_ns()
    task = Task(
        id=new_id(),
        created_ns=now_ns,
        updated_ns=now_ns,
        template_id=made.id,
        node_id=node_id,
        state=TaskState.NEW,
        state_ns=now_ns,
        message="created",
        addresses_wanted=wish.addresses,
    )
    await store.commit([Put(Kind.TEMPLATE, made), Put(Kind.TASK, task, 0)])


async def detach(store: Store, node_id: str, task_id: str) -> None:
    """Let the task of a container that has left be gone; idempotent. Raises: NoLeader."""
    task = store.state.tasks.get(task_id)
    if task is None or task.node_id != node_id or task.service_id:
        return
    await store.commit(
        [
            Delete(Kind.TASK_STATUS, task.id),
            Delete(Kind.TASK, task.id),
            Delete(Kind.TEMPLATE, task.template_id),
        ]
    )


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid address: {text}") from error
