"""Dockerfiles become the same images, and fail with the same words, on dockerd's classic builder and here."""

from collections.abc import Mapping
from concurrent.futures import Future

import pytest
from tests.differential.builds import differences, found_again
from tests.differential.deliberate import BUILDS
from tests.differential.dockerfiles import CASES, CHANGES, FETCHED, PARSED, Case
from tests.differential.pair import Pair
from tests.differential.site import beside


def unexplained(pair: Pair, cases: Mapping[str, Case]) -> list[str]:
    """What differs in these cases and is not meant to, a line each."""
    return [line for _, future in begun(pair, cases) for line in future.result()]


def begun(pair: Pair, cases: Mapping[str, Case]) -> list[tuple[str, Future[list[str]]]]:
    """The cases by name, a few built at a time: dockerd mostly waits for the disk."""

    def one(name: str) -> list[str]:
        told = differences(pair, cases[name])
        return [f"{name}: {line}" for line in told if not any(each.covers(name, line) for each in BUILDS)]

    return [(name, pair.cases.submit(one, name)) for name in cases]


@pytest.fixture(scope="module")
def built(pair: Pair, request: pytest.FixtureRequest) -> dict[str, Future[list[str]]]:
    """What differs in each case that is to be tested."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_both_engines_build_the_same
    ]
    return dict(begun(pair, {name: CASES[name] for name in wanted}))


@pytest.mark.parametrize("name", CASES)
def test_both_engines_build_the_same(built: dict[str, Future[list[str]]], name: str) -> None:
    assert built[name].result() == []


def test_both_engines_refuse_the_same(pair: Pair) -> None:
    assert unexplained(pair, PARSED) == []


def test_both_engines_fetch_the_same(pair: Pair) -> None:
    with beside(pair.ours), beside(pair.reference):
        assert unexplained(pair, FETCHED) == []


def test_both_engines_find_the_same_steps_again(pair: Pair) -> None:
    def one(change: str) -> str:
        first, second = CHANGES[change]
        engines = (pair.reference, pair.ours)
        wanted, came = pair.pool.map(found_again, engines, (first, first), (second, second))
        return "" if wanted == came else f"{change}: wanted {wanted}, came {came}"

    assert [line for line in pair.cases.map(one, CHANGES) if line] == []
