"""Bodies are read as Go reads them, and refused in its words."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from lighterman.api.decode import decode
from lighterman.apitypes.container import ContainerCreateBody, HostConfig, PortBinding, RestartPolicy
from lighterman.apitypes.exec import ExecStartBody
from lighterman.errdefs import InvalidParameter


def create(body: Any) -> ContainerCreateBody:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode(text, ContainerCreateBody)


def test_a_body_becomes_its_struct() -> None:
    body = create(
        {
            "Image": "busybox",
            "Cmd": ["ls", "-l"],
            "ExposedPorts": {"80/tcp": {}},
            "HostConfig": {"Memory": 1, "PortBindings": {"80/tcp": [{"HostPort": "8080"}], "81/tcp": None}},
            "NetworkingConfig": {"EndpointsConfig": {"bridge": None}},
        }
    )
    assert (body.image, body.cmd, body.exposed_ports) == ("busybox", ["ls", "-l"], {"80/tcp": {}})
    assert body.host_config is not None
    assert body.host_config.port_bindings == {"80/tcp": [PortBinding(host_port="8080")], "81/tcp": None}
    assert body.networking_config is not None
    assert body.networking_config.endpoints_config == {"bridge": None}


def test_keys_match_without_regard_to_case() -> None:
    body = create({"image": "a", "CMD": ["b"], "HOSTCONFIG": {"memory": 5, "oomkilldisable": True}})
    assert (body.image, body.cmd) == ("a", ["b"])
    assert body.host_config == HostConfig(memory=5, oom_kill_disable=True)


@pytest.mark.parametrize(
    ("body", "image"),
    [
        (b'{"Image":"a","image":"b"}', "b"),
        (b'{"image":"b","Image":"a"}', "a"),
        (b'{"Image":"a","image":"b","Image":"c"}', "c"),
    ],
)
def test_the_last_duplicate_wins(body: bytes, image: str) -> None:
    assert create(body).image == image


def test_unknown_keys_and_trailing_bytes_are_passed_over() -> None:
    assert create(b' \n{"Image":"a","Foo":{"Bar":[1]}}xx').image == "a"


def test_null_leaves_every_field_as_if_it_were_not_there() -> None:
    names = ["Image", "Tty", "Cmd", "ExposedPorts", "Healthcheck", "StopTimeout", "HostConfig", "StopSignal"]
    assert create(dict.fromkeys(names)) == ContainerCreateBody()
    host = create({"HostConfig": {"Memory": None, "RestartPolicy": None, "Mounts": None}}).host_config
    assert host == HostConfig()
    assert decode(b"null", ExecStartBody) == ExecStartBody()


def test_null_in_a_list_or_map_is_a_zero_value() -> None:
    body = create({"Cmd": [None], "Labels": {"a": None}, "ExposedPorts": {"80/tcp": None}})
    assert (body.cmd, body.labels, body.exposed_ports) == ([""], {"a": ""}, {"80/tcp": {}})


def test_one_text_is_a_list_where_docker_has_a_strslice() -> None:
    body = create({"Cmd": "ls", "Entrypoint": "sh", "Shell": "ash", "HostConfig": {"CapAdd": "ALL"}})
    assert (body.cmd, body.entrypoint, body.shell) == (["ls"], ["sh"], ["ash"])
    assert body.host_config is not None
    assert body.host_config.cap_add == ["ALL"]


def test_what_is_not_given_stays_unset() -> None:
    body = create({"HostConfig": {}})
    assert body.exposed_ports is UNSET
    assert body.host_config is not None
    assert (body.host_config.init, body.host_config.restart_policy) == (UNSET, RestartPolicy())


FIELD = "json: cannot unmarshal {} into Go struct field {} of type {}"


@pytest.mark.parametrize(  # as recorded from dockerd 20.10.24
    ("body", "message"),
    [
        (b"[]", "json: cannot unmarshal array into Go value of type runconfig.ContainerConfigWrapper"),
        (
            {"HostConfig": {"Memory": "5"}},
            FIELD.format("string", "HostConfig.HostConfig.Memory", "int64"),
        ),
        (
            b'{"HostConfig":{"Memory":5.5}}',
            FIELD.format("number 5.5", "HostConfig.HostConfig.Memory", "int64"),
        ),
        (
            b'{"HostConfig":{"Memory":1e9}}',
            FIELD.format("number 1e9", "HostConfig.HostConfig.Memory", "int64"),
        ),
        (
            b'{"HostConfig":{"Memory":99999999999999999999}}',
            FIELD.format("number 99999999999999999999", "HostConfig.HostConfig.Memory", "int64"),
        ),
        (b'{"Image":5}', FIELD.format("number", "ContainerConfigWrapper.Image", "string")),
        ({"Tty": "true"}, FIELD.format("string", "ContainerConfigWrapper.Tty", "bool")),
        ({"Env": {"a": "b"}}, FIELD.format("object", "ContainerConfigWrapper.Env", "[]string")),
        (
            {"ExposedPorts": ["80"]},
            FIELD.format("array", "ContainerConfigWrapper.ExposedPorts", "nat.PortSet"),
        ),
        (
            {"Healthcheck": {"Interval": "1s"}},
            FIELD.format("string", "HealthConfig.Healthcheck.Interval", "time.Duration"),
        ),
    ],
)
def test_what_does_not_fit_is_named_in_gos_words(body: Any, message: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        create(body)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b"  \n", "EOF"),
        (b'{"Image":', "unexpected EOF"),
        (b'{"Image":"a', "unexpected EOF"),
        (b"{Image", "invalid character 'I' looking for beginning of object key string"),
        (b"<html>", "invalid character '<' looking for beginning of value"),
        (b'{"Image":NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"Image" 1}', "invalid character '1' after object key"),
        (b"'", r"invalid character '\'' looking for beginning of value"),
        (b"[" * 100_000, "exceeded max depth"),
        (b'{"HostConfig":{"Memory":' + b"9" * 5000 + b"}}", None),
    ],
)
def test_broken_json_is_refused_as_a_mistake_of_the_client(body: bytes, message: str | None) -> None:
    with pytest.raises(InvalidParameter) as refused:
        create(body)
    assert message in (None, str(refused.value))


def test_half_a_surrogate_pair_becomes_the_replacement_sign() -> None:
    assert create(rb'{"Image":"a\ud800b","Labels":{"\udfff":"\ud83d\ude00"}}').image == "a\ufffdb"
    assert create(rb'{"Labels":{"\udfff":"\ud83d\ude00"}}').labels == {"\ufffd": "😀"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Image", "cmd", "HostConfig", "Memory", "x"]) | st.text(), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused_as_a_mistake_of_the_client(value: Any) -> None:
    with suppress(InvalidParameter):
        create(value)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_as_a_mistake_of_the_client(body: bytes) -> None:
    with suppress(InvalidParameter):
        create(body)
