"""Stored objects as the API tells them. Source: moby, daemon/cluster/convert."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from lighterman.apitypes import service as wire
from lighterman.apitypes import swarm
from lighterman.lib.go_time import rfc3339_nano
from lighterman.swarm.orchestrate.allocate import VNI_OPTION
from lighterman.swarm.orchestrate.round import is_job
from lighterman.swarm.state import (
    Attached,
    Config,
    Kind,
    Network,
    Node,
    Secret,
    Service,
    State,
    Stored,
    Task,
    Update,
)
from lighterman.swarm.state.tasks import WORDS


def _meta(state: State, kind: Kind, value: Stored) -> dict[str, Any]:
    """What every object begins with."""
    return {
        "id": value.id,
        "version": wire.Version(index=state.revision_of(kind, value.id)),
        "created_at": rfc3339_nano(value.created_ns),
        "updated_at": rfc3339_nano(value.updated_ns or value.created_ns),
    }


def service(state: State, it: Service) -> wire.Service:
    status = state.service_statuses.get(it.id)
    return wire.Service(
        **_meta(state, Kind.SERVICE, it),
        spec=it.spec,
        previous_spec=it.previous,
        endpoint=(status.endpoint if status else None) or wire.Endpoint(),
        update_status=None if is_job(it) else _update(it, status.update if status else None),
        job_status=wire.JobStatus(wire.Version(it.generation), rfc3339_nano(it.updated_ns or it.created_ns))
        if is_job(it)
        else None,
    )


def _update(it: Service, update: Update | None) -> wire.UpdateStatus | None:
    """How far the update is. A rollback that the leader has not seen yet has begun nevertheless."""
    if update is not None and update.generation == it.generation:
        return wire.UpdateStatus(
            state=update.state,
            started_at=rfc3339_nano(update.started_ns) if update.started_ns else None,
            completed_at=rfc3339_nano(update.completed_ns) if update.completed_ns else None,
            message=update.message,
        )
    if it.rollback:
        return wire.UpdateStatus(
            state="rollback_started",
            started_at=rfc3339_nano(it.updated_ns),
            message=it.rollback_reason or "manually requested rollback",
        )
    return None


def task(state: State, it: Task) -> wire.Task:
    template = state.templates.get(it.template_id)
    spec = template.spec if template else wire.TaskSpec()
    meta = _meta(state, Kind.TASK, it)
    observed, service_ = state.observations.get(it.id), state.services.get(it.service_id)
    if observed is not None:
        index = max(meta["version"].index, state.revision_of(Kind.TASK_STATUS, it.id))
        meta["version"] = wire.Version(index=index)
        meta["updated_at"] = rfc3339_nano(max(it.updated_ns, observed.applied_ns))
    return wire.Task(
        **meta,
        spec=replace(spec, runtime="") if spec.runtime == "container" else spec,
        service_id=it.service_id,
        slot=it.slot,
        node_id=it.node_id,
        status=_status(state, it),
        desired_state=it.desired.word,
        networks_attachments=list(_attachments(state, it.attached)),
        generic_resources=list(it.generic_resources),
        job_iteration=wire.Version(it.generation) if service_ is not None and is_job(service_) else None,
    )


def _status(state: State, it: Task) -> wire.TaskStatus:
    """The node's half if it is further on; ports of mode host are told there."""
    observed = state.observations.get(it.id)
    if observed is not None and WORDS[observed.status.state] > it.state:
        return observed.status
    return wire.TaskStatus(
        timestamp=rfc3339_nano(it.state_ns),
        state=it.state.word,
        message=it.message,
        err=it.error,
        container_status=observed.status.container_status if observed else None,
    )


def _attachments(state: State, attached: tuple[Attached, ...]) -> Iterator[wire.NetworkAttachment]:
    for place in attached:
        network_ = state.networks.get(place.network_id)
        if network_ is not None:
            yield wire.NetworkAttachment(network=network(state, network_), addresses=list(place.addresses))


def network(state: State, it: Network) -> wire.Network:
    """As a task's attachment has it."""
    status = state.network_statuses.get(it.id)
    options = dict(it.spec.driver_configuration.options) if it.spec.driver_configuration else {}
    if status is not None and status.vni:
        options[VNI_OPTION] = str(status.vni)
    wish = it.spec.ipam_options
    return wire.Network(
        **_meta(state, Kind.NETWORK, it),
        spec=replace(it.spec, scope="swarm"),
        driver_state=wire.Driver(name=driver_of(it), options=options),
        ipam_options=wire.IPAMOptions(
            driver=wish.driver if wish else wire.Driver(name="default"), configs=list(status.ipam)
        )
        if status is not None
        else None,
    )


def driver_of(it: Network) -> str:
    """The name of the network's driver."""
    driver = it.spec.driver_configuration
    return driver.name if driver and driver.name else "overlay"


def secret(state: State, it: Secret) -> wire.Secret:
    """Without what it keeps."""
    return wire.Secret(**_meta(state, Kind.SECRET, it), spec=replace(it.spec, data=b""))


def config(state: State, it: Config) -> wire.Config:
    return wire.Config(**_meta(state, Kind.CONFIG, it), spec=it.spec)


def node(state: State, it: Node, manager: swarm.ManagerStatus | None) -> swarm.Node:
    status = state.node_statuses.get(it.id)
    judged = state.liveness.get(it.id)
    current = state.node_state(it.id)
    return swarm.Node(
        **_meta(state, Kind.NODE, it),
        spec=it.spec,
        description=status.description if status else swarm.NodeDescription(),
        status=swarm.NodeStatus(
            state=current,
            message=judged.message if judged and current != "ready" else "",
            addr=status.addr if status else "",
        ),
        manager_status=manager,
    )
