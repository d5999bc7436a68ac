"""Where a monitor's output goes beside the clients: into files, or to a helper that sends it.

A sink takes pieces of output as they are read. One that `is_full` wants no more for now: then the output is
not read, and the process blocks in write(2).
"""

import time

from lighterman.lib.json_log_encoder import Encoder
from lighterman.lib.log_records import STREAMS, RecordEncoder
from lighterman.runtime.fields import Fields
from lighterman.runtime.log_file import open_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Sink:
    """Takes output of the streams 1 and 2."""

    is_full = False

    def feed(self, stream: int, piece: bytes) -> None:
        """Take a piece of output."""
        raise NotImplementedError

    def end(self, stream: int) -> None:
        """The stream has no more: its last line ends here."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is open; what is on its way may still arrive."""
        raise NotImplementedError


class FileSink(Sink):
    """A log file, written at once. `told` hears of each new error."""

    def __init__(self, request: Fields, told: "Callable[[str, str], None]") -> None:
        """Raises: OSError."""
        self._log, self._told, self._error = open_log(request), told, ""
        self._encoders = [_encoder(request, stream) for stream in range(len(STREAMS))]

    def feed(self, stream: int, piece: bytes) -> None:
        self._write(self._encoders[stream].feed(piece, time.time_ns()))

    def end(self, stream: int) -> None:
        self._write(self._encoders[stream].close(time.time_ns()))

    def close(self) -> None:
        self._log.close()

    def _write(self, entries: bytes) -> None:
        error = self._log.write(entries) if entries else self._error
        if error and error != self._error:
            self._told("log", error)
        self._error = error


def _encoder(request: Fields, stream: int) -> Encoder | RecordEncoder:
    if request.text("log_format") == "records":
        return RecordEncoder(stream)
    return Encoder(STREAMS[stream], request.text("attrs").encode())
