"""What is taken out of an answer before it is compared, and what is left in."""

from typing import Any

import pytest
from tests.replay.normal import differences, normal, parsed, same_status

ID = "af04eba2388ac79bbbefcaf190caa389c87e89a3d1d6e28503763f7151be3b7f"


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (f"Container {ID} is not running", "Container <id> is not running"),
        ({"Image": f"sha256:{ID}"}, {"Image": "<digest>"}),
        ({"Hostname": ID[:12]}, {"Hostname": "<short id>"}),
        ({"StartedAt": "2026-11-23T08:52:26.326Z"}, {"StartedAt": "<time>"}),
        ({"FinishedAt": "0001-01-01T00:00:00Z"}, {"FinishedAt": "0001-01-01T00:00:00Z"}),
        ({"IPAddress": "172.17.0.2", "Gateway": "0.0.0.0"}, {"IPAddress": "<address>", "Gateway": "0.0.0.0"}),
        ({"MacAddress": "02:42:ac:11:00:02"}, {"MacAddress": "<mac>"}),
        ({"Pid": 4711}, {"Pid": "<Pid>"}),
        ({"Pid": 0, "ExitCode": 137}, {"Pid": 0, "ExitCode": 137}),
        ({"LogPath": f"/var/lib/docker/containers/{ID}/x"}, {"LogPath": "<root>/containers/<id>/x"}),
        ({"Containers": {ID: {}}}, {"Containers": {"<id>": {}}}),
        ({"Status": "Exited (0) 2 seconds ago"}, {"Status": "Exited (0) <ago>"}),
        ({"Privileged": True, "Labels": None}, {"Privileged": True, "Labels": None}),
    ],
)
def test_only_what_belongs_to_one_run_is_taken_out(value: Any, left: Any) -> None:
    assert normal(value) == left


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ('{"a":1}\n', {"a": 1}),
        ('{"a":1}\r\n{"b":2}\r\n', [{"a": 1}, {"b": 2}]),
        ("No such container: nope\r\n", "No such container: nope\r\n"),
        ("", ""),
    ],
)
def test_a_body_is_parsed_as_what_it_is(body: str, value: Any) -> None:
    assert parsed(body) == value


def test_each_difference_is_told_with_its_place() -> None:
    golden = {"a": None, "b": [1, {"c": "x"}], "d": 1}
    ours = {"a": [], "b": [1, {"c": "y"}], "e": True}
    assert list(differences(golden, ours)) == [
        ".a: wanted null, came []",
        '.b[1].c: wanted "x", came "y"',
        ".d: missing, wanted 1",
        ".e: true is too much",
    ]


def test_true_is_not_one() -> None:
    assert list(differences({"a": 1}, {"a": True})) == [".a: wanted 1, came true"]


@pytest.mark.parametrize(("golden", "ours", "same"), [(404, 404, True), (500, 400, True), (400, 500, False)])
def test_a_clients_mistake_may_be_400_where_dockerd_said_500(golden: int, ours: int, same: bool) -> None:
    assert same_status(golden, ours) is same
