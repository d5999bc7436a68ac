"""Which versions are served, and which one a request speaks."""

import pytest

from lighterman.api.versions import ALL, OLDEST, Span, Version, parse
from lighterman.errdefs import InvalidParameter


@pytest.mark.parametrize(
    ("wish", "version"), [("", (1, 36)), ("1.24", (1, 24)), ("1.36", (1, 36)), ("1.44", (1, 44))]
)
def test_without_a_prefix_1_36_is_meant(wish: str, version: Version) -> None:
    assert ALL.choose(wish) == version


@pytest.mark.parametrize("wish", ["1.23", "1.45", "0.1", "2.0", "1", "9"])
def test_a_version_that_is_not_served_is_refused(wish: str) -> None:
    with pytest.raises(InvalidParameter, match=f"client version {wish} is too (old|new)"):
        ALL.choose(wish)


def test_the_operator_can_narrow_the_span() -> None:
    strict = Span(newest=(1, 36))
    assert strict.choose("") == (1, 36)
    with pytest.raises(InvalidParameter, match="too new"):
        strict.choose("1.37")
    assert Span(newest=(1, 30)).choose("") == (1, 30)
    assert Span(oldest=(1, 40)).choose("") == (1, 40)


@pytest.mark.parametrize("wish", ["", "1", "1.23", "1.45", "v1.36", "1.36.1", "one", "1.9999"])
def test_a_configured_version_is_one_that_the_gates_know(wish: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid API version"):
        parse(wish)
    assert parse("1.24") == OLDEST
