"""What older clients send and get: each row of the table, on both sides of its version."""

from typing import Any

import pytest
from msgspec import UNSET

from lighterman.api.gates import CONTAINER_CREATE, CONTAINER_CREATE_ON_V1, IMAGE_SUMMARY, Gate, gated
from lighterman.apitypes.container import (
    BindOptions,
    ContainerCreateBody,
    EndpointSettings,
    HealthConfig,
    HostConfig,
    Mount,
    NetworkingConfig,
    TmpfsOptions,
    VolumeOptions,
)
from lighterman.apitypes.image import ImageSummary
from lighterman.errdefs import InvalidParameter

NEWEST = (1, 44)


def host(**fields: Any) -> ContainerCreateBody:
    return ContainerCreateBody(host_config=HostConfig(**fields))


def bound(**options: Any) -> ContainerCreateBody:
    return host(mounts=[Mount(type="bind", bind_options=BindOptions(**options))])


@pytest.mark.parametrize(
    ("since", "sent", "meant"),
    [
        ((1, 25), host(auto_remove=True), host(auto_remove=False)),
        ((1, 40), bound(non_recursive=True), bound(non_recursive=False)),
        ((1, 40), host(ipc_mode=""), host(ipc_mode="shareable")),
        ((1, 40), host(kernel_memory_tcp=5), host(kernel_memory_tcp=0)),
        ((1, 42), bound(create_mountpoint=True), bound(create_mountpoint=False)),
        (
            (1, 42),
            host(mounts=[Mount(type="tmpfs", volume_options=VolumeOptions())]),
            host(mounts=[Mount(type="tmpfs")]),
        ),
        (
            (1, 42),
            host(mounts=[Mount(type="bind", volume_options=VolumeOptions(), tmpfs_options=TmpfsOptions())]),
            host(mounts=[Mount(type="bind", volume_options=VolumeOptions())]),
        ),
        ((1, 42), host(console_size=[3, 4]), host(console_size=[0, 0])),
        ((1, 43), host(annotations={"a": "b"}), host(annotations=UNSET)),
        (
            (1, 44),
            ContainerCreateBody(healthcheck=HealthConfig(start_interval=5)),
            ContainerCreateBody(healthcheck=HealthConfig()),
        ),
        ((1, 44), bound(read_only_non_recursive=True), bound(read_only_non_recursive=False)),
    ],
)
def test_a_field_acts_from_its_version_on(
    since: tuple[int, int], sent: ContainerCreateBody, meant: ContainerCreateBody
) -> None:
    gates = tuple(gate for gate in CONTAINER_CREATE if gate.since == since)
    below = (since[0], since[1] - 1)
    assert gated(sent, gates, below) == gated(meant, gates, below)
    assert gated(sent, gates, since) == sent


def test_below_1_41_the_cgroup_namespace_of_a_v1_host_is_the_hosts() -> None:
    assert gated(host(), CONTAINER_CREATE_ON_V1, (1, 40)) == host(cgroupns_mode="host")
    assert gated(host(), CONTAINER_CREATE_ON_V1, (1, 41)) == host()
    private = host(cgroupns_mode="private")
    assert gated(private, CONTAINER_CREATE_ON_V1, (1, 24)) == private


def test_what_was_wished_is_kept() -> None:
    wished = host(ipc_mode="private", cgroupns_mode="private")
    assert gated(wished, CONTAINER_CREATE, (1, 36)) == wished


def test_below_1_44_a_container_is_created_in_one_network() -> None:
    both: dict[str, EndpointSettings | None] = {"b": EndpointSettings(), "a": EndpointSettings()}
    body = ContainerCreateBody(networking_config=NetworkingConfig(both))
    with pytest.raises(InvalidParameter, match="connected to network endpoints: a, b"):
        gated(body, CONTAINER_CREATE, (1, 36))
    assert gated(body, CONTAINER_CREATE, NEWEST) == body


def test_below_1_44_a_bind_cannot_be_read_only_all_the_way_down() -> None:
    body = bound(read_only_force_recursive=True)
    with pytest.raises(InvalidParameter, match="ReadOnlyForceRecursive needs API"):
        gated(body, CONTAINER_CREATE, (1, 43))
    assert gated(body, CONTAINER_CREATE, NEWEST) == body


def summary(tags: list[str], digests: list[str]) -> ImageSummary:
    return ImageSummary(created=0, id="sha256:1", labels=None, repo_digests=digests, repo_tags=tags, size=5)


@pytest.mark.parametrize(
    ("tags", "digests", "before"),
    [
        ([], [], (["<none>:<none>"], ["<none>@<none>"])),
        (["a:1"], [], (["a:1"], None)),
        ([], ["a@sha256:1"], (None, ["a@sha256:1"])),
    ],
)
def test_below_1_43_an_image_without_names_says_so(
    tags: list[str], digests: list[str], before: tuple[list[str] | None, list[str] | None]
) -> None:
    image = summary(tags, digests)
    old = gated(image, IMAGE_SUMMARY, (1, 42))
    assert (old.repo_tags, old.repo_digests) == before
    new = gated(image, IMAGE_SUMMARY, (1, 43))
    assert (new.repo_tags, new.repo_digests) == (tags, digests)


def test_a_gate_acts_below_its_version_only() -> None:
    gate = Gate((1, 30), "doubling", lambda value: value * 2)
    assert [gated(1, (gate,), version) for version in ((1, 29), (1, 30), (1, 31))] == [2, 1, 1]
