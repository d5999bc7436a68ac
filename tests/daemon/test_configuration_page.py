"""docs/configuration.md tells every option that there is, as the code has it."""

import json
from pathlib import Path
from typing import Any

import msgspec

from lighterman.daemon.config import FIXED, REFUSED, Option, options
from lighterman.daemon.reload import RELOADED

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def shown(value: Any) -> str:
    return f"`{json.dumps(msgspec.to_builtins(value))}`"


def row(option: Option) -> str:
    short = f"`-{option.flag.short}`, " if option.flag.short else ""
    flag = f"{short}`--{option.flag.name}`" if option.flag.name else "none"
    return f"| `{option.key}` | {flag} | {shown(option.default)} | {option.flag.help} |"


def test_the_page_has_a_row_for_each_option() -> None:
    assert "\n".join(map(row, options())) in PAGE


def test_the_page_has_a_row_for_each_option_with_fixed_values() -> None:
    rows = [f"| `{key}` | {' or '.join(map(shown, values))} |" for key, values in FIXED.items()]
    assert "\n".join(rows) in PAGE


def test_the_page_tells_why_something_is_refused() -> None:
    assert "\n".join(f"| `{key}` | {reason} |" for key, reason in sorted(REFUSED.items())) in PAGE


def test_the_page_names_what_a_signal_brings_in() -> None:
    assert ", ".join(f"`{key}`" for key in sorted(RELOADED)) in PAGE.replace("\n", " ")
