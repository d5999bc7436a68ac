"""When a container that has ended starts again: its policy, how it ended, and what was waited before."""

import pytest
from tests.containers.values import container

from lighterman.apitypes.container import HostConfig, RestartPolicy
from lighterman.containers.exited import next_delay_s
from lighterman.containers.life import Exited, Life, Paused, Running
from lighterman.runtime import Exit

SECOND = 10**9
ALWAYS = HostConfig(restart_policy=RestartPolicy("always"))


@pytest.mark.parametrize("life", [Running(7, 0), Paused(7, 0)])
def test_the_wait_doubles_from_what_was_waited_last(life: Life) -> None:
    end = Exit(1, False, 2 * SECOND)
    waits = [0.0]
    for _ in range(4):
        delay_s = next_delay_s(container(ALWAYS, life=life, restart_delay_s=waits[-1]), end)
        assert delay_s is not None
        waits.append(delay_s)
    assert waits == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.8])


def test_a_run_of_ten_seconds_makes_the_wait_short_again() -> None:
    ran = container(ALWAYS, life=Running(7, 0), restart_delay_s=30.0)
    assert next_delay_s(ran, Exit(1, False, 10 * SECOND)) == 0.1


def test_who_was_stopped_rests() -> None:
    stopped = container(ALWAYS, life=Running(7, 0), stopped_by_user=True)
    assert next_delay_s(stopped, Exit(137, False, SECOND)) is None
    assert next_delay_s(container(ALWAYS, life=Exited(1, False, 0, 1)), Exit(1, False, 1)) is None
