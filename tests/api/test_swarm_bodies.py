"""Bodies of a swarm: what Go's decoder makes of them, and what older clients do not mean."""

import json
from typing import Any

import pytest

from lighterman.api import gates_swarm
from lighterman.api.decode import decode
from lighterman.apitypes.service import ConfigSpec, SecretSpec, ServiceSpec
from lighterman.errdefs import InvalidParameter


def wish(**container: Any) -> ServiceSpec:
    return decode(json.dumps({"TaskTemplate": {"ContainerSpec": container}}).encode(), ServiceSpec)


def test_a_body_without_anything_is_a_spec_of_nothing() -> None:
    assert decode(b"{}", ServiceSpec) == ServiceSpec()
    assert decode(b'{"Labels":null,"TaskTemplate":null,"Mode":null}', ServiceSpec) == ServiceSpec()


@pytest.mark.parametrize(
    ("text", "data"), [("aGVsbG8=", b"hello"), ("", b""), ("aGVs\\nbG8=", b"hello"), ("/+8=", b"\xff\xef")]
)
def test_bytes_come_as_base64(text: str, data: bytes) -> None:
    assert decode(f'{{"Data":"{text}"}}'.encode(), SecretSpec).data == data


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"Data":"!!"}', "illegal base64 data at input byte 0"),
        ('{"Data":"aGVsbG8"}', "illegal base64 data at input byte 4"),
        ('{"Data":5}', "json: cannot unmarshal number into Go struct field SecretSpec.Data of type []uint8"),
    ],
)
def test_other_bytes_are_refused_in_the_words_of_go(body: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        decode(body.encode(), SecretSpec)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            '{"Mode":{"Replicated":{"Replicas":-1}}}',
            "json: cannot unmarshal number -1 into Go struct field "
            "ReplicatedService.Mode.Replicated.Replicas of type uint64",
        ),
        (
            '{"EndpointSpec":{"Ports":[{"TargetPort":-1}]}}',
            "json: cannot unmarshal number -1 into Go struct field PortConfig.EndpointSpec.Ports.TargetPort "
            "of type uint32",
        ),
        (
            '{"UpdateConfig":{"MaxFailureRatio":"x"}}',
            "json: cannot unmarshal string into Go struct field UpdateConfig.UpdateConfig.MaxFailureRatio "
            "of type float32",
        ),
        ("[]", "json: cannot unmarshal array into Go value of type swarm.ServiceSpec"),
    ],
)
def test_numbers_have_the_ranges_of_go(body: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        decode(body.encode(), ServiceSpec)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("since", "field"),
    [
        ((1, 40), {"Sysctls": {"a": "b"}}),
        ((1, 41), {"CapabilityAdd": ["NET_ADMIN"]}),
        ((1, 41), {"CapabilityDrop": ["ALL"]}),
        ((1, 41), {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}),
        ((1, 44), {"Healthcheck": {"StartInterval": 5}}),
    ],
)
def test_fields_of_a_later_version_are_not_meant(since: tuple[int, int], field: dict[str, Any]) -> None:
    body, nothing = wish(**field), wish(**({"Healthcheck": {}} if "Healthcheck" in field else {}))
    before = (since[0], since[1] - 1)
    assert gates_swarm.service(body, since) == body
    assert gates_swarm.service(body, before) == gates_swarm.service(nothing, before)


def test_placement_limits_and_jobs_of_a_later_version_are_not_meant() -> None:
    text = {
        "TaskTemplate": {
            "Placement": {"MaxReplicas": 3},
            "Resources": {"Limits": {"Pids": 5, "MemoryBytes": 10}},
        },
        "Mode": {"ReplicatedJob": {}},
    }
    body = gates_swarm.service(decode(json.dumps(text).encode(), ServiceSpec), (1, 36))
    assert body.task_template.placement is not None
    assert body.task_template.placement.max_replicas == 0
    assert body.task_template.resources is not None
    assert body.task_template.resources.limits is not None
    assert (body.task_template.resources.limits.pids, body.task_template.resources.limits.memory_bytes) == (
        0,
        10,
    )
    assert body.mode.replicated_job is None


def test_templates_of_secrets_and_configs_came_with_1_37() -> None:
    text = b'{"Templating":{"Name":"golang"}}'
    secret, config = decode(text, SecretSpec), decode(text, ConfigSpec)
    assert gates_swarm.secret(secret, (1, 36)).templating is None
    assert gates_swarm.secret(secret, (1, 37)) == secret
    assert gates_swarm.config(config, (1, 36)).templating is None
    assert gates_swarm.config(config, (1, 37)) == config
