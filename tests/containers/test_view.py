"""What is shown of a container, beside dockerd's recorded answers."""

import msgspec
import pytest
from msgspec.structs import replace
from tests.containers.values import ID, container

from lighterman.apitypes.container import PortBinding
from lighterman.apitypes.exec import ExecCreateBody
from lighterman.containers.execs import Exec, ExecEnded, view
from lighterman.containers.life import Created, Exited, Life, Paused, Removing, Restarting, Running
from lighterman.containers.view import port_rows, published, shown_command, state, status_text
from lighterman.networks import PublishedPort, Sandbox

S = 10**9
NOW_NS = 1795423952 * S + 911735064


@pytest.mark.parametrize(
    ("life", "text"),
    [
        (Created(), "Created"),
        (Running(7, NOW_NS - 180 * S), "Up 3 minutes"),
        (Paused(7, NOW_NS), "Up Less than a second (Paused)"),
        (Exited(0, False, 0, NOW_NS - 2 * S), "Exited (0) 2 seconds ago"),
        (Exited(137, False, 0, NOW_NS), "Exited (137) Less than a second ago"),
        (Restarting(3, False, 0, NOW_NS - S), "Restarting (3) 1 second ago"),
        (Removing(Created()), "Removal In Progress"),
    ],
)
def test_a_status_reads_as_dockers(life: Life, text: str) -> None:
    assert status_text(life, NOW_NS) == text


def test_a_state_is_dockerds_recorded_one() -> None:
    life = Exited(137, False, 1795423944 * S + 769925211, NOW_NS)
    assert msgspec.json.encode(state(life)) == (
        b'{"Status":"exited","Running":false,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,'
        b'"Pid":0,"ExitCode":137,"Error":"","StartedAt":"2026-11-23T08:52:24.769925211Z",'
        b'"FinishedAt":"2026-11-23T08:52:32.911735064Z"}'
    )


@pytest.mark.parametrize(
    ("life", "running", "paused", "restarting", "pid", "code", "error"),
    [
        (Created(127, "no such file"), False, False, False, 0, 127, "no such file"),
        (Running(7, 1), True, False, False, 7, 0, ""),
        (Paused(7, 1), True, True, False, 7, 0, ""),
        (Restarting(3, False, 1, 2), True, False, True, 0, 3, ""),
        (Exited(1, False, 1, 2, "a guess"), False, False, False, 0, 1, "a guess"),
    ],
)
def test_a_state_tells_the_life(
    life: Life, running: bool, paused: bool, restarting: bool, pid: int, code: int, error: str
) -> None:
    shown = state(life)
    assert (shown.running, shown.paused, shown.restarting) == (running, paused, restarting)
    assert (shown.pid, shown.exit_code, shown.error) == (pid, code, error)


def test_a_command_is_shown_in_one_line() -> None:
    one = container(cmd=["-c", "echo out; sleep 3"], entrypoint=["sh"])
    assert shown_command(one) == "sh -c 'echo out; sleep 3'"


def test_published_ports_are_shown_and_exposed_ones_are_null() -> None:
    one = container(exposed_ports={"80/tcp": {}, "81/udp": {}})
    sandbox = Sandbox(
        ID, "one", "", (), (PublishedPort(80, "tcp", "0.0.0.0", 8080), PublishedPort(80, "tcp", "::", 8080))
    )
    assert published(one, sandbox) == {
        "80/tcp": [PortBinding("0.0.0.0", "8080"), PortBinding("::", "8080")],
        "81/udp": None,
    }
    assert msgspec.json.encode(list(port_rows(one, sandbox))) == (
        b'[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},'
        b'{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},'
        b'{"PrivatePort":81,"Type":"udp"}]'
    )


def test_a_stopped_container_has_no_ports() -> None:
    assert published(container(exposed_ports={"80/tcp": {}}), None) == {}


def test_an_exec_is_dockerds_recorded_one() -> None:
    wish = ExecCreateBody(
        cmd=["sh", "-c", "echo hi; echo e >&2; exit 3"], attach_stdout=True, attach_stderr=True
    )
    one = Exec(id="d1", container_id="af", wish=wish)
    recorded = (
        b'{"ID":"d1","Running":false,"ExitCode":%b,"ProcessConfig":{"tty":false,"entrypoint":"sh",'
        b'"arguments":["-c","echo hi; echo e >&2; exit 3"],"privileged":false},"OpenStdin":false,'
        b'"OpenStderr":true,"OpenStdout":true,"CanRemove":false,"ContainerID":"af","DetachKeys":"","Pid":%b}'
    )
    assert msgspec.json.encode(view(one)) == recorded % (b"null", b"0")
    ended = replace(one, life=ExecEnded(3, 9214))
    assert msgspec.json.encode(view(ended)) == recorded % (b"3", b"9214")
