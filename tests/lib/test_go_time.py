"""Go's texts for times, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.go_time import go_duration, parse_duration, parse_rfc3339, parse_timestamp, rfc3339_nano


@given(st.integers(min_value=0, max_value=4 * 10**18))
def test_a_time_written_is_read_back(instant_ns: int) -> None:
    assert parse_rfc3339(rfc3339_nano(instant_ns)) == instant_ns


def test_trailing_zeros_are_cut() -> None:
    assert rfc3339_nano(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert rfc3339_nano(0) == "1970-01-01T00:00:00Z"


def test_no_time_is_the_zero_time_of_go() -> None:
    assert rfc3339_nano(None) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5µs"),
        (500_000_000, "500ms"),
        (1_500_000_000, "1.5s"),
        (30 * 10**9, "30s"),
        (90 * 10**9, "1m30s"),
        (3600 * 10**9, "1h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(ns: int, text: str) -> None:
    assert go_duration(ns) == text


@given(st.integers(min_value=0, max_value=10**15))
def test_a_duration_written_is_read_back(ns: int) -> None:
    assert parse_duration(go_duration(ns)) == pytest.approx(ns, abs=1)


@pytest.mark.parametrize(
    ("text", "ns"), [("1h30m", 5400 * 10**9), ("-1.5s", -1_500_000_000), ("0", 0), ("10ms", 10**7)]
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("h", 'time: invalid duration "h"'),
        ("1x", 'time: unknown unit "x" in duration "1x"'),
        ("1h 5m", 'time: unknown unit "h " in duration "1h 5m"'),
        ("1e5s", 'time: unknown unit "e" in duration "1e5s"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_what_is_no_duration_is_refused_in_gos_words(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="duration") as refused:
        parse_duration(text)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10", 10 * 10**9),
        ("10.5", 10_500_000_000),
        ("1m", 40 * 10**9),
        ("1970-01-01T00:00:07Z", 7 * 10**9),
        ("1970-01-01T00:00:07", 7 * 10**9),
        ("1970-01-02", 86400 * 10**9),
    ],
)
def test_since_and_until_take_seconds_times_and_durations_back(text: str, ns: int) -> None:
    assert parse_timestamp(text, now_ns=100 * 10**9) == ns
