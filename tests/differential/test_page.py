"""docs/compatibility.md names every difference that the comparisons pass over."""

import re
from pathlib import Path

import pytest
from tests.differential.deliberate import BUILDS, DELIBERATE, RECORDED

PAGE = re.sub(r"\s+", " ", (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()).casefold()


@pytest.mark.parametrize("reason", sorted({one.reason for one in (*DELIBERATE, *BUILDS, *RECORDED)}))
def test_a_difference_is_on_the_page(reason: str) -> None:
    for part in re.split(r"[:;] | \(", reason):
        assert part.rstrip(")").casefold() in PAGE
