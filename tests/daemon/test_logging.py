"""Lines for a person, and lines for the journal."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lighterman.api import request_id
from lighterman.daemon.config import EngineConfig
from lighterman.daemon.logging import FileFormatter, JournalFormatter, LineFormatter, set_up


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("lighterman")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])
    logging.captureWarnings(False)


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("lighterman.x", level, "x.py", 1, text, (), None)


def test_a_line_has_time_level_and_text() -> None:
    line = LineFormatter().format(record("op=start outcome=ok"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    op=start outcome=ok", line)


def test_a_line_of_a_request_ends_with_its_number() -> None:
    token = request_id.set("7")
    try:
        assert LineFormatter().format(record("op=start")).endswith("op=start request=7")
    finally:
        request_id.reset(token)


@pytest.mark.parametrize(
    ("text", "level", "told"),
    [
        ("op=start outcome=ok", logging.INFO, 'level=info msg="op=start outcome=ok"'),
        ("processing", logging.WARNING, "level=warning msg=processing"),
        ('a "word"\nand more', logging.CRITICAL, r'level=fatal msg="a \"word\"\nand more"'),
    ],
)
def test_a_line_in_a_file_has_the_form_of_dockerd(text: str, level: int, told: str) -> None:
    time, _, rest = FileFormatter().format(record(text, level)).partition(" ")
    assert re.fullmatch(r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', time)
    assert rest == told


def test_the_journal_gets_the_level_as_its_priority() -> None:
    assert JournalFormatter().format(record("broken", logging.ERROR)) == "<3>broken"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (EngineConfig(), ["info", "error"]),
        (EngineConfig(log_level="error"), ["error"]),
        (EngineConfig(debug=True), ["debug", "info", "error"]),
        (EngineConfig(log_level="debug"), ["debug", "info", "error"]),
    ],
)
def test_the_level_decides_what_is_told(config: EngineConfig, told: list[str], tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as stream:
        set_up(config, stream)
        log = logging.getLogger("lighterman.x")
        log.debug("x")
        log.info("x")
        log.error("x")
        stream.seek(0)
        assert [line.split()[1] for line in stream] == [f"level={level}" for level in told]


def test_a_stream_to_the_journal_is_known_by_its_inode(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as stream:
        at = os.fstat(stream.fileno())
        set_up(EngineConfig(), stream, {"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"})
        logging.getLogger("lighterman.x").info("hello")
        stream.seek(0)
        assert stream.read() == "<6>hello\n"
