"""The reader's side of Docker's json-file log; `lib.json_log_encoder` is the writer's."""

import msgspec


class Line(msgspec.Struct, frozen=True):
    """One entry. `log` ends with a newline but for the cut pieces of overlong lines."""

    log: str = ""
    stream: str = ""
    time: str = ""
    """RFC3339Nano; `lib.go_time.parse_rfc3339` reads it."""
    attrs: dict[str, str] = {}


_DECODER = msgspec.json.Decoder(Line)


def decode_lines(block: bytes) -> list[Line]:
    """The entries of whole lines. A line that is no entry (a crash tore it) is left out."""
    try:
        return _DECODER.decode_lines(block)
    except msgspec.DecodeError:
        return [line for text in block.splitlines() if (line := _decode(text)) is not None]


def _decode(text: bytes) -> Line | None:
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError:
        return None
