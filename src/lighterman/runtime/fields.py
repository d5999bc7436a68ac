"""Messages and small files between daemon and monitor: `name=value` texts, each ended by a NUL.

As /proc/PID/environ: to be read with `tr '\\0' '\\n'`, and without a parser's weight in each monitor. An
older monitor meets a newer daemon, so fields are only ever added, and unknown ones ignored.
"""

Value = str | int | list[str]
_ITEM = "\x1f"


def encode(**fields: Value) -> bytes:
    """`fields` as a message. Values hold no NUL; the items of a list hold no control characters."""
    return b"".join(f"{name}={_text(value)}\0".encode() for name, value in fields.items())


def _text(value: Value) -> str:
    return _ITEM.join(value) if isinstance(value, list) else str(int(value) if value is True else value)


class Fields:
    """A message that was read. What is absent is "", 0, [] or False."""

    def __init__(self, message: bytes) -> None:
        texts = message.decode("utf-8", "replace").split("\0")
        self._values = {name: value for name, _, value in (text.partition("=") for text in texts)}

    def text(self, name: str) -> str:
        return self._values.get(name, "")

    def number(self, name: str) -> int:
        return int(self._values.get(name) or 0)

    def flag(self, name: str) -> bool:
        return self._values.get(name, "") not in ("", "0", "False")

    def items(self, name: str) -> list[str]:
        value = self._values.get(name, "")
        return value.split(_ITEM) if value else []

    def below(self, prefix: str) -> dict[str, str]:
        """The fields whose names begin with `prefix`, by the rest of their names."""
        at = len(prefix)
        return {name[at:]: value for name, value in self._values.items() if name.startswith(prefix)}
