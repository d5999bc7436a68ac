"""Dockerfiles become the same images, and fail with the same words, on dockerd's classic builder and here."""

import pytest
from tests.differential.builds import differences
from tests.differential.deliberate import BUILDS
from tests.differential.dockerfiles import CASES, PARSED
from tests.differential.pair import Pair

STILL_DIFFERENT = {
    "working directories": "WORKDIR /f/../g/ fails for us: `mkdir /f/../g/: file exists`",
    "odd lines": "each line of warnings is coloured for itself, dockerd colours all of them at once",
    "wildcards": "a file of two names stays one across two sources of a COPY; dockerd copies each for itself",
}
"""Mistakes of ours that are known. The list is to be empty."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=pytest.mark.xfail(reason=STILL_DIFFERENT[name]) if name in STILL_DIFFERENT else ()
        )
        for name in CASES
    ],
)
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
