"""The short soak: what is acknowledged stays and nothing is left, although the engine is killed often."""

import pytest
from tests.soak.soak import soak
from tests.support.engines import Daemon, Engine


@pytest.mark.beyond_dockerd
def test_a_mix_of_everything_survives_an_engine_that_is_killed_every_few_seconds(engine: Daemon) -> None:
    assert isinstance(engine, Engine)
    outcome = soak(engine, image="busybox", seconds=15, clients=4, kill_every_s=4, seed=1)
    assert not outcome.wrong, str(outcome)
    assert not outcome.left, str(outcome)
    assert outcome.engine_kills > 2
