"""What the operator reads: one line for each thing that changed, on standard error.

On a terminal a line starts with the time; in a file it has dockerd's form, which collectors of logs take
apart; under systemd the journal has the time, and takes the level from the `<6>` before the text
(sd-daemon(3)); as JSON it is an object with the same in it. A line made while a request is served ends with
its id, so that all lines of one request can be found.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from lighterman.api import request_id
from lighterman.daemon.config import LEVELS, EngineConfig

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class LineFormatter(logging.Formatter):
    """`2026-11-03T14:05:06.789Z INFO  op=start container=4f0c… duration_ms=84 outcome=ok request=9`."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The record's line, without the traceback that may be below it."""
        return f"{self._prefix(record)}{record.message}{_suffix()}"

    def _prefix(self, record: logging.LogRecord) -> str:
        return f"{_instant(record)} {record.levelname:<7} "


class FileFormatter(LineFormatter):
    """`time="2026-11-03T14:05:06.789Z" level=info msg="op=start outcome=ok" request=9`. Source: logrus."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The same in the form of dockerd's lines."""
        text = record.message
        told = text if re.fullmatch(r"[\w./@^+-]+", text, re.ASCII) else json.dumps(text, ensure_ascii=False)
        return f'time="{_instant(record)}" level={_level(record)} msg={told}{_suffix()}'


class JournalFormatter(LineFormatter):
    """The same for the journal, which keeps time and level itself."""

    def _prefix(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>"


class JsonFormatter(logging.Formatter):
    """An object a line: time, level, msg, and request and error where there are any. Keys as dockerd's."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "level": _level(record),
            "msg": record.getMessage(),
            "time": _instant(record),
        }
        if id := request_id.get():
            told["request"] = id
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def _suffix() -> str:
    return f" request={id}" if (id := request_id.get()) else ""


def _instant(record: logging.LogRecord) -> str:
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{instant}.{int(record.msecs):03d}Z"


def _level(record: logging.LogRecord) -> str:
    """As dockerd calls it."""
    return "fatal" if record.levelno >= logging.CRITICAL else record.levelname.lower()


def set_up(
    config: EngineConfig, stream: TextIO = sys.stderr, environment: Mapping[str, str] = os.environ
) -> None:
    """Send the log of all rooms to `stream`, from the configured level on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(config, stream, environment))
    logging.basicConfig(handlers=[handler], force=True)
    logging.captureWarnings(True)
    set_level(config)


def set_level(config: EngineConfig) -> None:
    """`debug` is about our own lines; other libraries never tell more than INFO."""
    level = logging.DEBUG if config.debug else LEVELS[config.log_level]
    logging.getLogger().setLevel(max(level, logging.INFO))
    logging.getLogger("lighterman").setLevel(level)


def _formatter(config: EngineConfig, stream: TextIO, environment: Mapping[str, str]) -> logging.Formatter:
    if config.log_format == "json":
        return JsonFormatter()
    if _is_journal(stream, environment):
        return JournalFormatter()
    return LineFormatter() if stream.isatty() else FileFormatter()


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether `stream` is connected to the journal. Source: JOURNAL_STREAM in systemd.exec(5)."""
    try:
        at = os.fstat(stream.fileno())
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{at.st_dev}:{at.st_ino}"
