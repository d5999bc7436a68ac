"""Who changed what: a line of JSON for each change that was asked for, done or refused.

The file is root's alone, grows at its end only, and may be moved away by logrotate while the engine runs: the
next line opens it anew. A line has the answer's status, so it is written when the work is done, and before
the answer goes out: what a client was told is in the file. What was asked for in the body is not in it:
environments and credentials are there.

The file has a thread of its own. A disk that does not answer holds up those who change something, each at its
own request, and nobody else; one that is full loses lines, which the engine's log tells.
"""

import asyncio
import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from types import TracebackType
from typing import Any

from lighterman.api import Deed
from lighterman.errdefs import System

log = logging.getLogger(__name__)


class _OfRoot(WatchedFileHandler):
    """A file that nobody else reads."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        log.exception("op=audit outcome=lost: %s", record.msg)


class AuditLog:
    """The file at `path`, open until the block ends."""

    def __init__(self, path: str) -> None:
        """Raises: System when it cannot be opened."""
        try:
            self._handler = _OfRoot(path)
        except OSError as error:
            raise System(f"audit-log {path} cannot be opened: {error.strerror}") from error
        self._thread = ThreadPoolExecutor(1, "audit")

    def __enter__(self) -> "AuditLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is to be written."""
        self._thread.shutdown()
        self._handler.close()

    async def write(self, deed: Deed) -> None:
        """Write a line; it is in the file when this returns."""
        line = json.dumps(audited(deed, time.time_ns()), ensure_ascii=False)
        record = logging.makeLogRecord({"msg": line})
        await asyncio.get_running_loop().run_in_executor(self._thread, self._emit, record)

    def _emit(self, record: logging.LogRecord) -> None:
        try:
            self._handler.emit(record)
        except OSError:  # it was moved away, and no other can be opened
            self._handler.handleError(record)


def audited(deed: Deed, now_ns: int) -> dict[str, Any]:
    """The line's content, in the order in which one reads it; what is not known is left out."""
    seconds, rest_ns = divmod(now_ns, 10**9)
    peer, refused = deed.peer, deed.status in (401, 403)
    outcome = (
        "gone" if deed.status == 499 else "refused" if refused else "failed" if deed.status >= 400 else "done"
    )
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest_ns // 10**6:03d}Z",
        "uid": peer.uid,
        "gid": peer.gid,
        "pid": peer.pid,
        "address": peer.address or None,
        "certificate": peer.certificate or None,
        "role": deed.role or None,
        "operation": deed.operation,
        "target": dict(deed.names) or None,
        "made": deed.made or None,
        "outcome": outcome,
        "status": deed.status,
    }
    return {key: value for key, value in line.items() if value is not None}
