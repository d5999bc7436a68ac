"""Dockerfiles become the same images, and fail with the same words, on dockerd's classic builder and here."""

import pytest
from tests.differential.builds import differences, found_again
from tests.differential.deliberate import BUILDS
from tests.differential.dockerfiles import CASES, CHANGES, FETCHED, PARSED
from tests.differential.pair import Pair
from tests.differential.site import beside


@pytest.mark.parametrize("name", CASES)
def test_both_engines_build_the_same(pair: Pair, name: str) -> None:
    unexplained = [
        line for line in differences(pair, CASES[name]) if not any(one.covers(name, line) for one in BUILDS)
    ]
    assert not unexplained, "\n".join(unexplained)


def test_both_engines_refuse_the_same(pair: Pair) -> None:
    unexplained = [
        f"{name}: {line}"
        for name, case in PARSED.items()
        for line in differences(pair, case)
        if not any(one.covers(name, line) for one in BUILDS)
    ]
    assert not unexplained, "\n".join(unexplained)


def test_both_engines_fetch_the_same(pair: Pair) -> None:
    with beside(pair.ours), beside(pair.reference):
        unexplained = [
            f"{name}: {line}"
            for name, case in FETCHED.items()
            for line in differences(pair, case)
            if not any(one.covers(name, line) for one in BUILDS)
        ]
    assert not unexplained, "\n".join(unexplained)


def test_both_engines_find_the_same_steps_again(pair: Pair) -> None:
    different = {}
    for change, (first, second) in CHANGES.items():
        engines = (pair.reference, pair.ours)
        wanted, came = pair.pool.map(found_again, engines, (first, first), (second, second))
        if wanted != came:
            different[change] = f"wanted {wanted}, came {came}"
    assert not different, "\n".join(f"{change}: {line}" for change, line in different.items())
