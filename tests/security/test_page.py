"""docs/security.md: each weakness has a test that is there, or a sentence why it cannot be."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (.+) \|$", PAGE.partition("## Weaknesses")[2].partition("## What")[0], re.M)[
    2:
]


@pytest.mark.parametrize(("weakness", "defence"), ROWS, ids=[weakness[:40] for weakness, _ in ROWS])
def test_each_weakness_has_a_test_or_a_reason(weakness: str, defence: str) -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", defence)
    for path, name in tests:
        assert re.search(rf"def {name}\(", (ROOT / path).read_text()), (path, name)
    assert tests or len(defence.split()) > 4, weakness


def test_the_page_names_each_dependency() -> None:
    wanted = re.search(r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert wanted is not None
    for name in re.findall(r'"([\w-]+)', wanted[1]):
        assert name in PAGE.partition("## What it is made of")[2], name
