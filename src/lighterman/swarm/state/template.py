"""From a service's spec to the template of its tasks."""

import hashlib

import msgspec
from msgspec.structs import replace

from lighterman.apitypes.service import EndpointSpec, ServiceSpec, TaskSpec
from lighterman.swarm.identity import ID_LENGTH, base36
from lighterman.swarm.state.tasks import Template


def template(spec: TaskSpec, endpoint: EndpointSpec | None) -> Template:
    """The template that holds this; its id is a hash, so that equal wishes have one template."""
    digest = hashlib.sha256(msgspec.msgpack.encode((spec, endpoint))).digest()
    return Template(id=base36(int.from_bytes(digest[:16], "big"), ID_LENGTH), spec=spec, endpoint=endpoint)


def template_of(spec: ServiceSpec) -> Template:
    """What tasks of the service are to be. The old place of networks counts where the new one is empty."""
    task = spec.task_template
    if not task.networks and spec.networks:
        task = replace(task, networks=spec.networks)
    return template(task, spec.endpoint_spec)
