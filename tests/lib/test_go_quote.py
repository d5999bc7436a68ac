"""Texts as Go's %q writes them."""

import pytest

from lighterman.lib.go_quote import go_quote, go_quote_char, go_quote_list

TEXTS = [
    ("a b", '"a b"'),
    ('"\\', '"\\"\\\\"'),
    ("\n\t\x00\x7f", '"\\n\\t\\x00\\x7f"'),
    ("é😀", '"é😀"'),
    ("\u2028\U000e0001", '"\\u2028\\U000e0001"'),
    ("\xa0", '"\\u00a0"'),
]


@pytest.mark.parametrize(("text", "quoted"), TEXTS)
def test_what_cannot_be_printed_is_escaped(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted


def test_a_list_has_no_commas() -> None:
    assert go_quote_list(["a", "b c"]) == '["a" "b c"]'
    assert go_quote_list([]) == "[]"


@pytest.mark.parametrize(
    ("code", "quoted"),
    [(0, "'\\x00'"), (3, "'\\x03'"), (65, "'A'"), (39, "'\\''"), (34, "'\"'"), (1 << 30, "'�'")],
)
def test_a_number_is_the_character_that_has_it(code: int, quoted: str) -> None:
    assert go_quote_char(code) == quoted
