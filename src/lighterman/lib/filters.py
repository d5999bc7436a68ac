"""The `filters` query parameter: a map of names to the values asked for.

Both forms of the wire are read: `{"status": ["created"]}` and the old `{"status": {"created": true}}`.
Several values of one name are alternatives, several names must all match. Source: filters of the API.
"""

import json
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from lighterman.errdefs import InvalidParameter
from lighterman.lib.go_time import parse_timestamp


class Filters(Struct, frozen=True):
    """What was asked for: name -> values, in the order given."""

    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def __contains__(self, name: str) -> bool:
        return name in self.wanted

    def get(self, name: str) -> tuple[str, ...]:
        """The values of `name`; empty when it was not asked for."""
        return self.wanted.get(name, ())

    def check(self, known: Iterable[str]) -> None:
        """Raises InvalidParameter in Docker's words for a name that is not `known`."""
        allowed = set(known)
        for name in self.wanted:
            if name not in allowed:
                raise InvalidParameter(f"Invalid filter '{name}'")

    def exact(self, name: str, value: str) -> bool:
        """Whether `value` is one of those asked for, or none was."""
        values = self.get(name)
        return not values or value in values

    def labels(self, labels: Mapping[str, str] | None, *, name: str = "label") -> bool:
        """Whether every `key` or `key=value` asked for under `name` is among `labels`."""
        have = labels or {}
        for wish in self.get(name):
            key, has_value, value = wish.partition("=")
            if key not in have or (has_value and have[key] != value):
                return False
        return True

    def flag(self, name: str, *, default: bool) -> bool:
        """The one boolean value of `name`. Raises InvalidParameter for anything that is not a boolean."""
        values = self.get(name)
        if not values:
            return default
        known = {"1": True, "true": True, "0": False, "false": False}
        answers = {known.get(value) for value in values}
        if len(answers) != 1 or None in answers:
            raise InvalidParameter(f"Invalid filter '{name}=[{' '.join(values)}]'")
        return bool(answers.pop())

    def until_ns(self, now_ns: int) -> int | None:
        """The moment of the one value of `until`, None when it was not asked for. Raises InvalidParameter."""
        values = self.get("until")
        if len(values) > 1:
            raise InvalidParameter("more than one until filter specified")
        try:
            return parse_timestamp(values[0], now_ns=now_ns) if values else None
        except ValueError as error:
            raise InvalidParameter(str(error)) from error

    def prunes(
        self, labels: Mapping[str, str] | None, *, created_ns: int = 0, until_ns: int | None = None
    ) -> bool:
        """Whether a prune takes an object: older than `until`, with all labels, and not with all of `label!`.

        `until_ns` is what `until_ns()` gave when the prune began.
        """
        if until_ns is not None and created_ns >= until_ns:
            return False
        return self.labels(labels) and not ("label!" in self and self.labels(labels, name="label!"))


def parse_filters(text: str | None) -> Filters:
    """The Filters of a query value. Raises InvalidParameter when it is neither of the two forms."""
    if not text:
        return Filters()
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"invalid filter: {error}") from error
    if raw is None:
        return Filters()
    if not isinstance(raw, dict):
        raise InvalidParameter(
            f"json: cannot unmarshal {_kind(raw)} into Go value of type map[string]map[string]bool"
        )
    wanted: dict[str, tuple[str, ...]] = {}
    for name, values in raw.items():
        if isinstance(values, dict):
            values = [value for value, on in values.items() if on]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidParameter(
                f"json: cannot unmarshal {_kind(values)} into Go value of type map[string]bool"
            )
        wanted[name] = tuple(values)
    return Filters(wanted)


def _kind(value: object) -> str:
    """What Go calls a JSON value of this type. Texts as recorded from dockerd 20.10.24."""
    kinds = {bool: "bool", str: "string", list: "array"}
    return kinds.get(type(value), "number")
