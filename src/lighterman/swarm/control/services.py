"""Services."""

import time
from collections import Counter
from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from lighterman.apitypes import service as wire
from lighterman.containers.names import made_up_name
from lighterman.errdefs import NotFound, System
from lighterman.lib.filters import Filters
from lighterman.swarm.control import view
from lighterman.swarm.control.check import check
from lighterman.swarm.control.find import by_label, by_prefix, one
from lighterman.swarm.control.refusals import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NoSuchNetwork,
    NotSupported,
)
from lighterman.swarm.control.spec import complete, targets, with_defaults, with_targets
from lighterman.swarm.control.stores import Store
from lighterman.swarm.identity import new_id
from lighterman.swarm.orchestrate.allocate import PREDEFINED, ingress_network, needs_ingress
from lighterman.swarm.orchestrate.round import is_job
from lighterman.swarm.state import (
    Delete,
    Kind,
    Network,
    Put,
    Service,
    State,
    TaskState,
    template_of,
)
from lighterman.swarm.store import NameTaken, OutOfSequence

FILTERS = ("name", "id", "label", "mode", "runtime")


def list_(store: Store, filters: Filters, *, with_status: bool = False) -> list[wire.Service]:
    """The services asked for. Raises InvalidParameter."""
    filters.check(FILTERS)
    state = store.state
    runtimes = filters.get("runtime") or ("container",)
    found = [
        view.service(state, service)
        for service in state.services.values()
        if by_prefix(service.spec.name, filters.get("name"))
        and by_prefix(service.id, filters.get("id"))
        and by_label(service.spec.labels, filters.get("label"))
        and filters.exact("mode", mode_of(service.spec))
        and service.spec.task_template.runtime in runtimes
    ]
    if with_status:
        found = [replace(each, service_status=_counts(state, each.id)) for each in found]
    return found


def _counts(state: State, service_id: str) -> wire.ServiceStatus:
    """Of a job's tasks those of its last iteration count. Source: SwarmKit, ListServiceStatuses."""
    service, tasks = state.services[service_id], state.tasks_of_service(service_id)
    mode, of_job = service.spec.mode, is_job(service)
    if of_job:
        tasks = [task for task in tasks if task.generation == service.generation]
    seen = Counter(state.seen(task).state for task in tasks)
    if mode.replicated is not None:
        desired = mode.replicated.replicas or 0
    elif mode.replicated_job is not None:
        desired = mode.replicated_job.max_concurrent or 0
    else:
        goal = TaskState.COMPLETE if of_job else TaskState.RUNNING
        desired = sum(
            task.desired is goal and state.seen(task).state is not TaskState.COMPLETE for task in tasks
        )
    return wire.ServiceStatus(
        running_tasks=seen[TaskState.RUNNING],
        desired_tasks=desired,
        completed_tasks=seen[TaskState.COMPLETE] if of_job else 0,
    )


def mode_of(spec: wire.ServiceSpec) -> str:
    """As the filter `mode` has it."""
    mode = spec.mode
    if mode.global_ is not None:
        return "global"
    if mode.replicated_job is not None:
        return "replicated-job"
    return "global-job" if mode.global_job is not None else "replicated"


def inspect(store: Store, ref: str, *, insert_defaults: bool = False) -> wire.Service:
    """The service. Raises NoSuchObject, Ambiguous."""
    found = view.service(store.state, one(store.state, Kind.SERVICE, ref, Service))
    return replace(found, spec=with_defaults(found.spec)) if insert_defaults else found


async def create(store: Store, spec: wire.ServiceSpec, *, registry_auth: str = "") -> str:
    """Make a service; its id. Its tasks come by themselves.

    Raises: InvalidParameter, Conflict (the name is taken), System in dockerd's words.
    """
    state = store.state
    spec = _checked(state, spec, local_name=made_up_name(_names(state), Random()))
    _check_ports(state, spec, "")
    _check_references(state, spec)
    now_ns = time.time_ns()
    service = Service(
        id=new_id(),
        created_ns=now_ns,
        updated_ns=now_ns,
        spec=spec,
        template_id=template_of(spec).id,
        registry_auth=registry_auth,
    )
    try:
        await store.commit([Put(Kind.SERVICE, service, 0)])
    except NameTaken:
        raise AlreadyExists(
            f"name conflicts with an existing object: service {spec.name} already exists"
        ) from None
    return service.id


def _names(state: State) -> set[str]:
    return {service.spec.name for service in state.services.values()}


async def update(
    store: Store,
    ref: str,
    spec: wire.ServiceSpec,
    *,
    version: int,
    registry_auth: str = "",
    registry_auth_from: str = "",
    rollback: str = "",
) -> None:
    """Wish a service to be another, or with `rollback` "previous" what it was before.

    Raises: NoSuchObject, Ambiguous, InvalidParameter, Unimplemented; OutOfSequence for another version.
    """
    state = store.state
    spec = _checked(state, spec, local_name="")
    service = one(state, Kind.SERVICE, ref, Service)
    if not registry_auth:
        registry_auth = _kept_auth(service, registry_auth_from)
    if rollback not in ("", "none", "previous"):
        raise System(f"unrecognized rollback option {rollback}")
    if spec.endpoint_spec is not None and spec.endpoint_spec != service.spec.endpoint_spec:
        _check_ports(state, spec, service.id)
    _check_change(service.spec, spec)
    _check_references(state, spec)
    if version != state.revision_of(Kind.SERVICE, service.id):
        raise OutOfSequence(Kind.SERVICE, service.id)
    if rollback == "previous":
        after = _back(service)
    else:
        after = replace(
            service,
            spec=spec,
            previous=service.spec,
            template_id=template_of(spec).id,
            rollback=False,
            rollback_reason="",
            registry_auth=registry_auth,
            previous_registry_auth=service.registry_auth,
        )
    after = replace(after, updated_ns=time.time_ns(), generation=service.generation + 1)
    await store.commit([Put(Kind.SERVICE, after, version)])


def _back(service: Service) -> Service:
    """The service as it was before; what it is now is then what it was before."""
    if service.previous is None:
        raise FailedPrecondition(f"service {service.id} does not have a previous spec")
    return replace(
        service,
        spec=service.previous,
        previous=service.spec,
        template_id=template_of(service.previous).id,
        rollback=True,
        rollback_reason="",
        registry_auth=service.previous_registry_auth,
        previous_registry_auth=service.registry_auth,
    )


def _kept_auth(service: Service, source: str) -> str:
    """The credentials of an update that brings none."""
    if source in ("", "spec"):
        return service.registry_auth
    if source != "previous-spec":
        raise System("unsupported registryAuthFrom value")
    if service.previous is None:
        raise System("service does not have a previous spec")
    return service.previous_registry_auth


async def remove(store: Store, ref: str) -> None:
    """Remove a service; its tasks go by themselves. Raises NoSuchObject, Ambiguous."""
    service = one(store.state, Kind.SERVICE, ref, Service)
    await store.commit([Delete(Kind.SERVICE, service.id)])


# What a wish has to be


def _checked(state: State, spec: wire.ServiceSpec, *, local_name: str) -> wire.ServiceSpec:
    """The wish as it is kept, its networks by id; dockerd looks for these first."""
    networks = [_network(state, target) for target in targets(spec)]
    spec = with_targets(spec, [each if isinstance(each, str) else each.id for each in networks])
    spec = complete(spec, local_name)
    check(spec)
    for each in networks:
        if isinstance(each, Network) and each.spec.ingress:
            raise InvalidArgument(
                f'Service cannot be explicitly attached to the ingress network "{each.spec.name}"'
            )
    if needs_ingress(spec.endpoint_spec) and ingress_network(state) is None:
        raise FailedPrecondition("service needs ingress network, but no ingress network is present")
    return spec


def _network(state: State, target: str) -> Network | str:
    """A network of the swarm; or the name of one that every node has."""
    if target == "none":
        raise NotFound("could not find the corresponding predefined swarm network: network none not found")
    if target in PREDEFINED:
        return target
    found = state.find(Kind.NETWORK, target, "network")
    if found is None:
        raise NoSuchNetwork(target)
    assert isinstance(found, Network)
    return found


def _check_change(before: wire.ServiceSpec, after: wire.ServiceSpec) -> None:
    """Raises: NotSupported for what a service can never change."""
    if before.networks != after.networks and before.task_template.networks == after.task_template.networks:
        raise NotSupported("networks must be migrated to TaskSpec before being changed")
    if mode_of(before) != mode_of(after):
        raise NotSupported("service mode change is not allowed")
    if before.name != after.name:
        raise NotSupported("renaming services is not supported")


def _check_references(state: State, spec: wire.ServiceSpec) -> None:
    container = spec.task_template.container_spec
    assert container is not None
    _check_known(
        "secret",
        [
            each.secret_name
            for each in container.secrets
            if (secret := state.secrets.get(each.secret_id)) is None or secret.spec.name != each.secret_name
        ],
    )
    _check_known(
        "config",
        [
            each.config_name
            for each in container.configs
            if (config := state.configs.get(each.config_id)) is None or config.spec.name != each.config_name
        ],
    )


def _check_known(what: str, missing: Sequence[str]) -> None:
    if missing:
        raise InvalidArgument(f"{what}{'s' if len(missing) > 1 else ''} not found: {', '.join(missing)}")


def _check_ports(state: State, spec: wire.ServiceSpec, service_id: str) -> None:
    """Raises: InvalidArgument when a published port is another service's. Source: checkPortConflicts."""
    wish = spec.endpoint_spec.ports if spec.endpoint_spec else []
    wanted = {(port.published_port, port.protocol): port.publish_mode for port in wish if port.published_port}
    if not wanted:
        return
    for other in state.services.values():
        if other.id == service_id:
            continue
        status = state.service_statuses.get(other.id)
        ports = list(other.spec.endpoint_spec.ports) if other.spec.endpoint_spec else []
        ports += status.endpoint.ports if status and status.endpoint else []
        for port in ports:
            mode = wanted.get((port.published_port, port.protocol)) if port.published_port else None
            if mode is None or (port.publish_mode == "host" and mode == "host"):
                continue
            how = "a host-published port" if port.publish_mode == "host" else "an ingress port"
            raise InvalidArgument(
                f"port '{port.published_port}' is already in use by service '{other.spec.name}' "
                f"({other.id}) as {how}"
            )
