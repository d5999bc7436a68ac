"""How a task becomes a container."""

from typing import Any

import pytest

from lighterman.apitypes import service as wire
from lighterman.apitypes import swarm
from lighterman.apitypes.container import DeviceMapping, Mount, Ulimit
from lighterman.containers import GivenFile
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.swarm.agent.task_container import task_container
from lighterman.swarm.control.check import check
from lighterman.swarm.control.spec import complete
from lighterman.swarm.session import AssignedTask, Attachment

NODE = swarm.NodeDescription(hostname="host", platform=wire.Platform("x86_64", "linux"))


def made(spec: wire.ContainerSpec, **task: Any) -> Any:
    template = wire.TaskSpec(container_spec=spec, **task.pop("template", {}))
    assigned = AssignedTask("t1", "running", template, "web.1.t1", "s1", "web", slot=1, **task)
    return task_container(assigned, "n1", NODE)


def test_names_and_labels_tell_what_it_is() -> None:
    container = made(
        wire.ContainerSpec(image="busybox", labels={"mine": "1", "com.docker.swarm.task.id": "x"})
    )
    assert container.name == "web.1.t1"
    assert container.body.image == "busybox:latest"
    assert container.body.labels == {
        "mine": "1",
        "com.docker.swarm.node.id": "n1",
        "com.docker.swarm.service.id": "s1",
        "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": "t1",
        "com.docker.swarm.task.name": "web.1.t1",
    }


def test_command_is_the_entrypoint_and_args_are_the_command() -> None:
    body = made(wire.ContainerSpec(image="busybox", command=["sh"], args=["-c", "x"])).body
    assert (body.entrypoint, body.cmd) == (["sh"], ["-c", "x"])
    assert made(wire.ContainerSpec(image="busybox", args=["x"])).body.entrypoint is None


def test_a_task_is_told_what_it_was_given() -> None:
    given = [wire.GenericResource(wire.NamedGenericResource("gpu", name)) for name in ("A", "B")]
    given.append(wire.GenericResource(None, wire.DiscreteGenericResource("ssd", 2)))
    body = made(wire.ContainerSpec(image="busybox"), generic_resources=tuple(given)).body
    assert body.env == ["DOCKER_RESOURCE_GPU=A,B", "DOCKER_RESOURCE_SSD=2"]


def test_placeholders_are_filled_in_env_mounts_and_host_name() -> None:
    spec = wire.ContainerSpec(
        image="busybox",
        env=["A={{.Service.Name}}", "B"],
        hostname="{{.Node.Hostname}}-{{.Task.Slot}}",
        mounts=[Mount(type="volume", source="v{{.Task.Slot}}", target="/d")],
    )
    body = made(spec).body
    assert body.env == ["A=web", "B"]
    assert body.hostname == "host-1"
    assert body.host_config.mounts[0].source == "v1"


def test_a_wrong_placeholder_says_where_it_is() -> None:
    with pytest.raises(InvalidParameter, match=r"^expanding env failed: template"):
        made(wire.ContainerSpec(image="busybox", env=["A={{.Nope}}"]))


def test_limits_hosts_and_dns_are_passed_on() -> None:
    spec = wire.ContainerSpec(
        image="busybox",
        hosts=["10.1.2.3 db alias", "nonsense"],
        dns_config=wire.DNSConfig(nameservers=["9.9.9.9"], search=["x"]),
    )
    limits = wire.ResourceRequirements(limits=wire.Limit(nano_cpus=5, memory_bytes=7, pids=9))
    host = made(spec, template={"resources": limits}).body.host_config
    assert host.extra_hosts == ["db:10.1.2.3"]
    assert (host.dns, host.dns_search) == (["9.9.9.9"], ["x"])
    assert (host.nano_cpus, host.memory, host.pids_limit) == (5, 7, 9)


def test_ports_of_mode_host_are_published_by_the_container() -> None:
    ports = (wire.PortConfig("", "tcp", 80, 8080, "host"), wire.PortConfig("", "udp", 53, 0, "host"))
    host = made(wire.ContainerSpec(image="busybox"), host_ports=ports).body.host_config
    found = {port: [binding.host_port for binding in bound] for port, bound in host.port_bindings.items()}
    assert found == {"80/tcp": ["8080"], "53/udp": [""]}


def test_its_places_in_networks_have_the_addresses_of_the_swarm() -> None:
    place = Attachment("net1id", "net1", ("10.0.1.5/24",))
    body = made(wire.ContainerSpec(image="busybox"), attachments=(place,)).body
    end = body.networking_config.endpoints_config["net1"]
    assert (end.network_id, end.ipam_config.ipv4_address) == ("net1id", "10.0.1.5")
    assert body.host_config.network_mode == ""


def test_a_network_that_every_node_has_is_the_network_mode() -> None:
    networks = {"networks": [wire.NetworkAttachmentConfig(target="host")]}
    body = made(wire.ContainerSpec(image="busybox"), template=networks).body
    assert body.host_config.network_mode == "host"


def test_secrets_and_configs_lie_where_docker_puts_them() -> None:
    spec = wire.ContainerSpec(
        image="busybox",
        secrets=[
            wire.SecretReference(wire.FileTarget("s", "1", "2", 0o400), "id1", "s"),
            wire.SecretReference(wire.FileTarget("/abs/s", "0", "0", 0o444), "id2", "s2"),
        ],
        configs=[
            wire.ConfigReference(wire.FileTarget("c", "0", "0", 0o444), None, "id3", "c"),
            wire.ConfigReference(None, {}, "id4", "runtime"),
        ],
    )
    assert made(spec).files == (
        GivenFile("secret id1", "/run/secrets/s", 1, 2, 0o400),
        GivenFile("secret id2", "/abs/s", 0, 0, 0o444),
        GivenFile("config id3", "/c", 0, 0, 0o444),
    )


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (
            Mount(type="bind", source="rel", target="/x"),
            "invalid bind mount source, must be an absolute path: rel",
        ),
        (
            Mount(type="volume", source="/abs", target="/x"),
            "invalid volume mount source, must not be an absolute path: /abs",
        ),
        (Mount(type="tmpfs", source="s", target="/x"), "invalid tmpfs source, source must be empty"),
        (
            Mount(type="bind", source="/s", target="x"),
            "invalid mount target, must be an absolute path: x",
        ),
        (Mount(type="npipe", source="s", target="/x"), "invalid mount type: npipe"),
    ],
)
def test_mounts_that_cannot_be_are_refused_in_swarmkits_words(mount: Mount, text: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{text}$"):
        made(wire.ContainerSpec(image="busybox", mounts=[mount]))


def test_a_task_without_an_image_or_a_container_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"^dockerexec: image required$"):
        made(wire.ContainerSpec())
    with pytest.raises(Unimplemented, match="unsupported runtime"):
        task_container(AssignedTask("t", "running", wire.TaskSpec(runtime="plugin")), "n", NODE)


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("/dev/fuse", [DeviceMapping("/dev/fuse", "/dev/fuse", "rwm")]),
        ("/dev/fuse:r", [DeviceMapping("/dev/fuse", "/dev/fuse", "r")]),
        (
            "/dev/fuse:/dev/f, /dev/kmsg:/dev/k:rw",
            [DeviceMapping("/dev/fuse", "/dev/f", "rwm"), DeviceMapping("/dev/kmsg", "/dev/k", "rw")],
        ),
        (" ", None),
    ],
)
def test_devices_are_named_by_a_label(text: str, devices: list[DeviceMapping] | None) -> None:
    body = made(wire.ContainerSpec(image="busybox", labels={"lighterman.devices": text})).body
    assert body.host_config.devices == devices


@pytest.mark.parametrize("text", ["fuse", "/dev/fuse:x", "/dev/fuse:/dev/f:rr", "/dev/fuse:/dev/f:r:x", "::"])
def test_what_is_no_device_is_refused_when_it_is_wished(text: str) -> None:
    spec = wire.ContainerSpec(image="busybox", labels={"lighterman.devices": text})
    wish = wire.ServiceSpec(name="web", task_template=wire.TaskSpec(container_spec=spec))
    with pytest.raises(InvalidParameter, match="ContainerSpec: invalid device specification"):
        check(complete(wish, ""))


def test_fields_of_newer_clients_act() -> None:
    spec = wire.ContainerSpec(
        image="busybox",
        init=True,
        sysctls={"net.core.somaxconn": "7"},
        capability_add=["CAP_NET_ADMIN"],
        capability_drop=["CAP_CHOWN"],
        ulimits=[Ulimit("nofile", 5, 6)],
    )
    host = made(spec).body.host_config
    assert (host.init, host.sysctls) == (True, {"net.core.somaxconn": "7"})
    assert (host.cap_add, host.cap_drop) == (["CAP_NET_ADMIN"], ["CAP_CHOWN"])
    assert host.ulimits == [Ulimit("nofile", 5, 6)]
