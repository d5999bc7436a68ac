"""The short soak: what is acknowledged stays and nothing is left, whatever is killed or full."""

import pytest
from tests.soak.ground import ground
from tests.soak.soak import Plan, soak


@pytest.mark.beyond_dockerd
def test_a_mix_of_everything_survives_an_engine_that_is_harmed_every_few_seconds() -> None:
    with ground() as (engine, registry):
        outcome = soak(engine, Plan(seconds=10, clients=4, seed=1, harm_every_s=1.5, registry=registry.name))
        assert not outcome.wrong, str(outcome)
        assert not outcome.left, str(outcome)
        assert outcome.harms["engine"]
