"""What a log driver that sends does."""

from _collections_abc import Sequence

from lighterman.lib.log_records import Entry


class Driver:
    """Sends entries to one receiver. May block: it has a process of its own."""

    idle_s: float | None = None
    """`flush` is wanted when nothing came for so long; None: there is nothing to flush."""

    def connect(self) -> None:
        """Reach the receiver, before the container starts. Raises: OSError, in Go's words."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Send them, in order. Raises: OSError: these are lost."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what was held back to be sent together. Raises: OSError."""


PRIORITY_ERROR, PRIORITY_INFO = 3, 6


def priority(entry: Entry) -> int:
    """Syslog's severity: stderr is an error."""
    return PRIORITY_ERROR if entry.stream == 2 else PRIORITY_INFO


def reason(error: OSError) -> str:
    """The text of an error, without its number."""
    return error.strerror or str(error)
