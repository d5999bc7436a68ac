"""The drivers json-file and local in mode non-blocking: a disk that stalls stalls only this process."""

from _collections_abc import Sequence

from lighterman.lib.json_log_encoder import Encoder
from lighterman.lib.log_records import STREAMS, Entry, record
from lighterman.runtime.drivers.driver import Driver
from lighterman.runtime.fields import Fields
from lighterman.runtime.log_file import open_log


class File(Driver):
    """Writes the log that `request` describes. Raises: OSError."""

    def __init__(self, request: Fields) -> None:
        self._log = open_log(request)
        self._attrs = None if request.text("log_format") == "records" else request.text("attrs").encode()

    def send(self, entries: Sequence[Entry]) -> None:
        error = self._log.write(b"".join(self._entry(*piece) for piece in joined(entries)))
        if error:
            raise OSError(error)

    def _entry(self, stream: int, time_ns: int, output: bytes) -> bytes:
        if self._attrs is None:
            return record(stream, output, time_ns)
        encoder = Encoder(STREAMS[stream], self._attrs)
        return encoder.feed(output, time_ns) + encoder.close(time_ns)


def joined(entries: Sequence[Entry]) -> list[tuple[int, int, bytes]]:
    """(stream, time, output) of entries that follow each other: those of one piece of output together."""
    pieces: list[tuple[int, int, bytes]] = []
    lines: list[bytes] = []
    for at, entry in enumerate(entries):
        cut = entry.partial is not None and not entry.partial.last
        lines.append(entry.line if cut else entry.line + b"\n")
        after = entries[at + 1] if at + 1 < len(entries) else None
        if cut or after is None or (after.stream, after.time_ns) != (entry.stream, entry.time_ns):
            pieces.append((entry.stream, entry.time_ns, b"".join(lines)))
            lines = []
    return pieces
