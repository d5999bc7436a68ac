"""Times and durations as Go writes and reads them: the API's texts. Instants are ns since the epoch."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

ZERO_TIME = "0001-01-01T00:00:00Z"
_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]*)")
_LONGEST_NS = (1 << 63) - 1
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})")


def rfc3339_nano(instant_ns: int | None) -> str:
    """RFC3339 in UTC with as many decimals as needed, at most nine; None is Go's zero time."""
    if instant_ns is None:
        return ZERO_TIME
    seconds, nanos = divmod(instant_ns, 10**9)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{text}{fraction}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 time: {text}")
    day, clock, fraction, zone = match.groups()
    whole = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    return int(whole.timestamp()) * 10**9 + int((fraction or "0").ljust(9, "0"))


def go_duration(duration_ns: int) -> str:
    """A duration as Go's `%v` shows it: "1m30s", "1.5s", "500ms"; 0 is "0s". Source: Duration.String."""
    if 0 < duration_ns < 10**9:
        unit, size = next(
            pair for pair in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if duration_ns >= pair[1]
        )
        return f"{_decimal(duration_ns, size)}{unit}"
    minutes, rest_ns = divmod(duration_ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    larger = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{larger}{_decimal(rest_ns, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    fraction = f".{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}{fraction}"


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as "1h30m" or "-1.5s". Raises ValueError.

    Source: ParseDuration of Go's package time.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total_ns = 0
    for whole, fraction, unit in _parts(rest):
        if (not whole and not fraction) or len(whole) > len(str(_LONGEST_NS)):
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS_NS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        fraction = fraction[:18]
        total_ns += int(whole or "0") * _UNITS_NS[unit]
        total_ns += int(fraction or "0") * _UNITS_NS[unit] // 10 ** len(fraction)
        if total_ns > _LONGEST_NS:
            raise ValueError(f'time: invalid duration "{text}"')
    return sign * total_ns


def _parts(text: str) -> Iterator[tuple[str, str, str]]:
    """Whole part, decimals and unit, over and over; all may be empty where the text makes no sense."""
    at = 0
    while at < len(text):
        match = _DURATION.match(text, at)
        if match is None or match.end() == at:
            yield "", "", ""
            return
        yield match[1], match[2] or "", match[3]
        at = match.end()


def parse_timestamp(text: str, *, now_ns: int) -> int:
    """An instant in ns: unix seconds with decimals, RFC 3339, or a Go duration counted back from now.

    Raises ValueError. Source: GetTimestamp of Docker's API types, as `since` and `until` use it.
    """
    if re.fullmatch(r"-?\d+(\.\d{0,9}\d*)?", text):
        whole, _, fraction = text.partition(".")
        return int(whole) * 10**9 + int((fraction or "0")[:9].ljust(9, "0"))
    try:
        return now_ns - parse_duration(text)
    except ValueError:
        pass
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        text += "T00:00:00"
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", text):
        text += ":00"
    if not _RFC3339.fullmatch(text):
        text += "Z"
    return parse_rfc3339(text)
