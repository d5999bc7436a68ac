"""Services and their tasks. Everything heavy comes with the first request to a manager."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from lighterman.api.credentials import registry_auth
from lighterman.api.handlers.swarm import exact_flag, version
from lighterman.api.request import (
    MULTIPLEXED_STREAM,
    RAW_STREAM,
    Answer,
    Reply,
    Request,
    Stream,
    ended,
    reply,
)
from lighterman.api.rooms import Rooms
from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.reference import parse_reference

if TYPE_CHECKING:
    from lighterman.apitypes.service import ServiceSpec
    from lighterman.swarm.node.manager import Manager
    from lighterman.swarm.state import State, Task


async def list_(request: Request, rooms: Rooms) -> Answer:
    """ServiceList. `status` counts tasks since 1.41."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import services

    status = request.version >= (1, 41) and exact_flag_explained(request, "status")
    return reply(services.list_(store, request.filters(), with_status=status))


def exact_flag_explained(request: Request, name: str) -> bool:
    """As `exact_flag`, and says more of what is wrong."""
    try:
        return exact_flag(request, name)
    except InvalidParameter as error:
        problem = f'strconv.ParseBool: parsing "{request.text(name)}": invalid syntax'
        raise InvalidParameter(f"{error}: {problem}") from None


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """ServiceInspect."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import services

    defaults = exact_flag_explained(request, "insertDefaults")
    return reply(services.inspect(store, request.names["id"], insert_defaults=defaults))


async def create(request: Request, rooms: Rooms) -> Answer:
    """ServiceCreate."""
    store = rooms.swarm.manager.store
    from lighterman.apitypes.service import ServiceCreateResponse
    from lighterman.swarm.control import services

    spec, warnings = await _spec(request, rooms)
    auth = request.headers.get("X-Registry-Auth", "")
    return reply(
        ServiceCreateResponse(
            id=await services.create(store, spec, registry_auth=auth), warnings=warnings or []
        ),
        201,
    )


async def update(request: Request, rooms: Rooms) -> Answer:
    """ServiceUpdate."""
    store = rooms.swarm.manager.store
    from lighterman.apitypes.service import ServiceUpdateResponse
    from lighterman.swarm.control import services

    spec, warnings = await _spec(request, rooms)
    await services.update(
        store,
        request.names["id"],
        spec,
        version=version(request, "service"),
        registry_auth=request.headers.get("X-Registry-Auth", ""),
        registry_auth_from=request.text("registryAuthFrom"),
        rollback=request.text("rollback"),
    )
    return reply(ServiceUpdateResponse(warnings))


async def _spec(request: Request, rooms: Rooms) -> "tuple[ServiceSpec, list[str] | None]":
    """The wish as a client of this version means it, and warnings. Below 1.30 the engine pins the image."""
    from lighterman.api import gates_swarm
    from lighterman.apitypes.service import ServiceSpec

    spec = gates_swarm.service(await request.body(ServiceSpec), request.version)
    container = spec.task_template.container_spec
    if request.version >= (1, 30) or container is None:
        return spec, None
    try:
        found = await rooms.images.distribution(container.image, auth=registry_auth(request.headers))
        pinned = parse_reference(container.image).with_digest(found.descriptor.digest).familiar()
    except EngineError:
        return spec, [gates_swarm.NOT_PINNED.format(container.image)]
    return gates_swarm.with_image(spec, pinned), None


async def delete(request: Request, rooms: Rooms) -> Answer:
    """ServiceDelete."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import services

    await services.remove(store, request.names["id"])
    return Reply(200)


async def logs(request: Request, rooms: Rooms) -> Answer:
    """ServiceLogs."""
    manager = rooms.swarm.manager
    from lighterman.swarm.control.logs import of_service

    return _log_stream(request, manager, of_service)


async def list_tasks(request: Request, rooms: Rooms) -> Answer:
    """TaskList."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import tasks

    return reply(tasks.list_(store, request.filters()))


async def inspect_task(request: Request, rooms: Rooms) -> Answer:
    """TaskInspect."""
    store = rooms.swarm.manager.store
    from lighterman.swarm.control import tasks

    return reply(tasks.inspect(store, request.names["id"]))


async def task_logs(request: Request, rooms: Rooms) -> Answer:
    """TaskLogs."""
    manager = rooms.swarm.manager
    from lighterman.swarm.control.logs import of_task

    return _log_stream(request, manager, of_task)


def _log_stream(
    request: Request, manager: "Manager", find: "Callable[[State, str], tuple[list[Task], bool]]"
) -> Answer:
    """What is wrong is told before the head is sent: first the options, then the name."""
    from lighterman.swarm.control.logs import Options, read, wanted

    options = Options(
        stdout=request.flag("stdout"),
        stderr=request.flag("stderr"),
        follow=request.flag("follow"),
        timestamps=request.flag("timestamps"),
        details=request.flag("details"),
        since=request.text("since"),
        tail=request.text("tail"),
    )
    wanted(options, ())
    tasks, tty = find(manager.store.state, request.names["id"])
    chunks = read(manager.store.state, tasks, options, manager.dispatcher.logs, framed=not tty)
    framed = request.version >= (1, 42) and not tty
    return Stream(_closed(chunks), MULTIPLEXED_STREAM if framed else RAW_STREAM)


async def _closed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with ended(chunks):
        async for chunk in chunks:
            yield chunk
