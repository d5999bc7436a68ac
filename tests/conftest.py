"""For all tests: where `tests.support` is found, and which engine the engine tests drive."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:  # --import-mode=importlib leaves it out
    sys.path.insert(0, str(ROOT))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("ours", "dockerd"),
        default="ours",
        help="which engine tests/engine drives: dockerd shows whether a test itself is right",
    )
