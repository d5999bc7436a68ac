"""What strangers send cannot make a line of a log of its own."""

from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.inline import inline


@given(text=st.text())
def test_a_text_stays_in_its_line_and_its_field(text: str) -> None:
    written = inline(text)
    assert written.isprintable()
    assert " " not in written


def test_what_is_plain_is_left_alone() -> None:
    assert inline("busybox:latest") == "busybox:latest"
    assert inline("a\nop=forged x") == "a\\nop=forged\\x20x"
    assert len(inline("x" * 10_000)) < 300
