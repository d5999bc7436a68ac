"""Asked the same, both engines answer the same, but for the differences that are listed with their reason."""

import pytest
from tests.differential.deliberate import DELIBERATE
from tests.differential.pair import Pair
from tests.differential.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_engines_answer_the_same(pair: Pair, scenario: str) -> None:
    pair.fresh()
    unexplained = [
        f"{step}: {line}"
        for step in SCENARIOS[scenario]
        for line in pair.ask(step)
        if not any(one.covers(scenario, line) for one in DELIBERATE)
    ]
    assert not unexplained, "\n".join(unexplained)
