"""Who changed what: a line of JSON for each change that was asked for, done or refused.

The file is root's alone, grows at its end only, and may be moved away by logrotate while the engine runs. A
line has the answer's status, so it is written when the work is done. What was asked for in the body is not in
it: environments and credentials are there.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from typing import Any

from lighterman.api import Deed
from lighterman.errdefs import System

log = logging.getLogger(__name__)


class _OfRoot(WatchedFileHandler):
    """A file that nobody else reads."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")


def open_audit(path: str) -> Callable[[Deed], None]:
    """What writes a line to the file `path`. Raises: System when it cannot be opened."""
    try:
        handler = _OfRoot(path)
    except OSError as error:
        raise System(f"audit-log {path} cannot be opened: {error.strerror}") from error

    def write(deed: Deed) -> None:
        line = json.dumps(audited(deed, time.time_ns()), ensure_ascii=False)
        handler.emit(logging.makeLogRecord({"msg": line}))

    return write


def audited(deed: Deed, now_ns: int) -> dict[str, Any]:
    """The line's content, in the order in which one reads it."""
    seconds, rest_ns = divmod(now_ns, 10**9)
    who = dict(part.partition("=")[::2] for part in deed.peer.split())
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest_ns // 10**6:03d}Z",
        **{key: int(value) if key in ("uid", "pid") else value for key, value in who.items()},
        "operation": deed.operation,
        **deed.names,
        "status": deed.status,
        **({"read_only": True} if deed.read_only else {}),
    }
