"""The writer's side of Docker's json-file log: bytes of output in, lines of the log out.

One line is `{"log":"text\\n","stream":"stdout","attrs":{...},"time":"..."}`. There is no work per line here:
each piece of output is escaped and its newlines replaced by whole line ends in a few passes of C, so all
lines of one piece have one time. The reader's side is `lib.json_log`. Monitors load this module: it imports
nothing of weight. Source: daemon/logger/copier.go and jsonlogbytes.go of moby.
"""

import codecs
import time

MAX_LINE = 16384
"""Longer lines are cut into entries of this many bytes; only the last of them ends with a newline."""
_CLEAN = bytes(set(range(0x20, 0x7F)) - set(b'\\"<>&')) + b"\n\x7f"
_ESCAPES = {c: b"\\u%04x" % c for c in [*range(0x20), *b"<>&"]} | {
    0x22: b'\\"',
    0x5C: b"\\\\",
    0x0D: b"\\r",
}


def _go_replacement(error: UnicodeError) -> tuple[str, int]:
    """U+FFFD for one byte, as Go counts: Python would take a maximal part of a sequence for one."""
    assert isinstance(error, UnicodeDecodeError)
    return "\\ufffd", error.start + 1


codecs.register_error("lighterman.go", _go_replacement)


def stamp(now_ns: int) -> bytes:
    """RFC3339Nano in UTC, without a fraction's trailing zeros."""
    seconds, nanos = divmod(now_ns, 10**9)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z").encode()


def escape(text: bytes) -> bytes:
    """`text` as the inside of a JSON string, in Docker's form, but for newlines, which stay."""
    if text.isascii():
        odd = set(text.translate(None, _CLEAN))
    else:
        odd = {byte for byte in text.translate(None, _CLEAN) if byte < 0x80}
    if 0x5C in odd:  # first, since the other escapes bring backslashes of their own
        odd.remove(0x5C)
        text = text.replace(b"\\", b"\\\\")
    for byte in odd:
        text = text.replace(bytes((byte,)), _ESCAPES[byte])
    if not text.isascii():
        text = text.decode("utf-8", "lighterman.go").encode()
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return text


def cut_overlong(line: bytes) -> int:
    """How many bytes of a line of more than `MAX_LINE` the first entry takes: no character is torn."""
    end = MAX_LINE
    while end > MAX_LINE - 4 and 0x80 <= line[end] < 0xC0:
        end -= 1
    return end if end > MAX_LINE - 4 else MAX_LINE


class Encoder:
    """Makes log lines of one stream's output. `attrs` is the JSON object of the log's attributes, or b""."""

    def __init__(self, stream: str, attrs: bytes = b"") -> None:
        extra = b',"attrs":' + attrs if attrs else b""
        self._tail = b'","stream":"' + stream.encode() + b'"' + extra + b',"time":"'
        self._rest = b""

    def feed(self, output: bytes, now_ns: int) -> bytes:
        """The lines that are complete with `output`; the beginning of the next one is kept."""
        output, at = self._rest + output, 0
        done: list[bytes] = []
        end = self._tail + stamp(now_ns) + b'"}\n'
        while True:
            start = at
            while newline := output.rfind(b"\n", at, at + MAX_LINE) + 1:
                at = newline
            if at > start:
                lines = escape(output[start:at]).replace(b"\n", b"\\n" + end + b'{"log":"')
                done += b'{"log":"', lines[:-8]
            if len(output) - at <= MAX_LINE:
                break
            cut = at + cut_overlong(output[at : at + MAX_LINE + 1])
            done += b'{"log":"', escape(output[at:cut]), end
            at = cut
        self._rest = output[at:]
        return b"".join(done)

    def close(self, now_ns: int) -> bytes:
        """The line that never ended, as an entry without a newline."""
        rest, self._rest = self._rest, b""
        return b'{"log":"' + escape(rest) + self._tail + stamp(now_ns) + b'"}\n' if rest else b""
