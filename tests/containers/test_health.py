"""How health moves with each probe, and how it is shown."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.containers.values import container, image, planned

from lighterman.apitypes.container import HealthConfig
from lighterman.containers.health import (
    FAILED,
    Health,
    KeptOutput,
    Probe,
    after,
    at_start,
    check_of,
    command,
    in_status,
    is_probe,
    pause_s,
    probe_id,
    share_of_interval,
    shown,
    status_of,
    too_long,
)
from lighterman.errdefs import InvalidParameter

SECOND = 10**9
CHECK = HealthConfig(test=["CMD", "true"], retries=2, start_period=10 * SECOND)
OK, BAD = 0, 1


def probe(code: int, *, at_s: int = 60) -> Probe:
    return Probe(at_s * SECOND, at_s * SECOND + 1, code, "")


def told(*codes: int, at_s: int = 60, health: Health | None = None) -> tuple[str, int]:
    """(status, streak) of a container started at 0 after probes with these codes."""
    health = health or Health()
    for code in codes:
        health = after(health, probe(code, at_s=at_s), CHECK, started_ns=0)
    return health.status, health.failing_streak


MOVES = [
    ((), ("starting", 0)),
    ((OK,), ("healthy", 0)),
    ((BAD,), ("starting", 1)),
    ((BAD, BAD), ("unhealthy", 2)),
    ((BAD, OK), ("healthy", 0)),
    ((OK, BAD), ("healthy", 1)),
    ((OK, BAD, BAD), ("unhealthy", 2)),
    ((OK, BAD, FAILED), ("unhealthy", 2)),
    ((OK, BAD, OK, BAD), ("healthy", 1)),
    ((BAD, BAD, BAD), ("unhealthy", 3)),
    ((BAD, BAD, OK), ("healthy", 0)),
    ((2, 126), ("unhealthy", 2)),
]


@pytest.mark.parametrize(("codes", "end"), MOVES)
def test_health_moves_with_each_probe(codes: tuple[int, ...], end: tuple[str, int]) -> None:
    assert told(*codes) == end


def test_failures_in_the_start_period_do_not_count_until_one_has_succeeded() -> None:
    assert told(BAD, BAD, BAD, at_s=5) == ("starting", 0)
    assert told(BAD, at_s=10) == ("starting", 1)
    assert told(OK, BAD, BAD, at_s=5) == ("unhealthy", 2)


def test_three_failures_are_enough_unless_something_else_is_said() -> None:
    health, check = Health(), HealthConfig(test=["CMD", "true"])
    states = []
    for _ in range(3):
        health = after(health, probe(BAD), check, started_ns=0)
        states.append(health.status)
    assert states == ["starting", "starting", "unhealthy"]


@given(st.lists(st.sampled_from([OK, BAD, FAILED]), max_size=20))
def test_the_last_five_are_kept_and_the_last_success_heals(codes: list[int]) -> None:
    health = Health()
    for number, code in enumerate(codes):
        health = after(health, Probe(number, number, code, ""), CHECK, started_ns=-(100 * SECOND))
    assert [each.began_ns for each in health.log] == list(range(len(codes)))[-5:]
    assert (health.status == "healthy") >= (codes[-1:] == [OK])
    assert health.failing_streak == next(
        (n for n, code in enumerate(reversed(codes)) if code == OK), len(codes)
    )


def test_a_new_run_starts_anew_and_keeps_the_log() -> None:
    before = after(Health(), probe(OK), CHECK, started_ns=0)
    config = container(healthcheck=CHECK).config
    assert at_start(config, before) == Health("starting", 0, before.log)
    assert at_start(container().config, before) is None


@pytest.mark.parametrize(
    ("status", "ran_s", "pause"),
    [("starting", 1, 2.0), ("starting", 10, 7.0), ("healthy", 1, 7.0), ("unhealthy", 99, 7.0)],
)
def test_probes_are_closer_in_the_start_period(status: str, ran_s: int, pause: float) -> None:
    check = HealthConfig(
        test=["CMD", "x"], interval=7 * SECOND, start_period=10 * SECOND, start_interval=2 * SECOND
    )
    assert pause_s(Health(status), check, ran_ns=ran_s * SECOND) == pause


def test_the_pause_is_thirty_seconds_unless_something_else_is_said() -> None:
    assert pause_s(Health(), HealthConfig(test=["CMD", "x"], start_period=SECOND), ran_ns=0) == 30.0


@given(st.from_regex("[0-9a-f]{64}", fullmatch=True))
def test_containers_share_the_interval(container_id: str) -> None:
    assert 0 <= share_of_interval(container_id) < 1


@given(st.from_regex("[0-9a-f]{64}", fullmatch=True), st.from_regex("[0-9a-f]{32}", fullmatch=True))
def test_a_probe_is_known_by_its_id(container_id: str, chance: str) -> None:
    exec_id = probe_id(container_id, chance)
    assert re.fullmatch("[0-9a-f]{64}", exec_id)
    assert is_probe(container_id, exec_id)
    assert not is_probe(container_id, exec_id[::-1])
    assert not is_probe(exec_id, exec_id)


def test_a_command_runs_as_it_is_or_in_the_shell() -> None:
    assert command(HealthConfig(test=["CMD", "a", "b c"]), None) == ["a", "b c"]
    assert command(HealthConfig(test=["CMD-SHELL", "a; b"]), None) == ["/bin/sh", "-c", "a; b"]
    assert command(HealthConfig(test=["CMD-SHELL", "a"]), ["/bin/ash", "-ec"]) == ["/bin/ash", "-ec", "a"]


IMAGE = image(cmd=["x"], healthcheck=HealthConfig(test=["CMD", "of image"], interval=SECOND, retries=7))


def test_the_images_check_is_inherited_field_by_field() -> None:
    plan = planned(image=IMAGE, healthcheck=HealthConfig(timeout=SECOND, retries=9))
    assert check_of(plan.config) == HealthConfig(
        test=["CMD", "of image"], interval=SECOND, timeout=SECOND, retries=9
    )


def test_the_images_check_is_switched_off_by_none() -> None:
    assert check_of(planned(image=IMAGE, healthcheck=HealthConfig(test=["NONE"])).config) is None
    assert check_of(planned(image=IMAGE, healthcheck=HealthConfig(test=[])).config) is not None
    assert check_of(planned().config) is None


REFUSED = [
    (HealthConfig(test=["FOO", "a"]), "Unknown type 'FOO' in Healthcheck (try 'CMD')"),
    (HealthConfig(test=["CMD"]), "Test in Healthcheck has no command behind CMD"),
    (HealthConfig(test=["CMD", "a"], interval=1), "Interval in Healthcheck cannot be less than 1ms"),
    (HealthConfig(timeout=1), "Timeout in Healthcheck cannot be less than 1ms"),
    (HealthConfig(start_period=1), "StartPeriod in Healthcheck cannot be less than 1ms"),
    (HealthConfig(retries=-1), "Retries in Healthcheck cannot be negative"),
]


@pytest.mark.parametrize(("check", "text"), REFUSED)
def test_a_check_that_cannot_be_is_refused(check: HealthConfig, text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        planned(healthcheck=check)


def test_four_kib_of_what_a_probe_says_are_kept() -> None:
    said = KeptOutput()
    said.add(b"x" * 4000)
    said.add(b"y" * 96)
    assert said.text == "x" * 4000 + "y" * 96
    said.add(b"z")
    assert said.text == "x" * 4000 + "y" * 96 + "..."
    other = KeptOutput()
    other.add(b"\xff\n")
    assert other.text == "�\n"


def test_what_takes_too_long_is_told_with_what_it_said() -> None:
    assert too_long(HealthConfig(timeout=90 * SECOND), "") == "Health check exceeded timeout (1m30s)"
    assert too_long(HealthConfig(), "up") == "Health check exceeded timeout (30s): up"


def test_health_is_shown_in_dockers_words() -> None:
    health = Health("healthy", 0, (Probe(1_500_000_000, 2_000_000_000, 0, "fine\n"),))
    assert msgspec.json.encode(shown(health, runs=True)) == (
        b'{"Status":"healthy","FailingStreak":0,"Log":[{"Start":"1970-01-01T00:00:01.5Z",'
        b'"End":"1970-01-01T00:00:02Z","ExitCode":0,"Output":"fine\\n"}]}'
    )
    assert msgspec.json.encode(shown(Health(), runs=True)) == (
        b'{"Status":"starting","FailingStreak":0,"Log":[]}'
    )
    assert shown(None, runs=True) is None


@pytest.mark.parametrize(
    ("health", "text", "status"),
    [
        (None, "", "none"),
        (Health(), " (health: starting)", "starting"),
        (Health("healthy"), " (healthy)", "healthy"),
        (Health("unhealthy"), " (unhealthy)", "unhealthy"),
    ],
)
def test_ps_says_how_it_is(health: Health | None, text: str, status: str) -> None:
    assert in_status(health) == text
    assert status_of(health, runs=True) == status
    assert status_of(health, runs=False) == ("none" if health is None else "unhealthy")
