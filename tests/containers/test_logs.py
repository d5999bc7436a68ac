"""A log is read from any place of its files, selected and framed as the client asked."""

import os
import random
from pathlib import Path

import pytest

from lighterman.containers import log_forms, log_reader
from lighterman.containers.log_forms import JsonLines, LogForm, Records
from lighterman.containers.log_reader import LogReader
from lighterman.containers.logs import LogOptions, render, render_records, select
from lighterman.containers.top import check_ps_args, parse_ps
from lighterman.errdefs import InvalidParameter
from lighterman.lib.json_log import Line, decode_lines
from lighterman.lib.json_log_encoder import Encoder
from lighterman.lib.log_records import Record, RecordEncoder, record, records
from lighterman.runtime import log_file
from lighterman.runtime.log_file import LogFile

NOW_NS = 1795423944 * 10**9  # 2026-11-23T08:52:24Z
LINES = [
    Line("out\n", "stdout", "2026-11-23T08:52:24.771243173Z"),
    Line("err\n", "stderr", "2026-11-23T08:52:24.7719Z", {"b": "2 3", "a": "1"}),
    Line("end\n", "stdout", "2026-11-23T08:52:25Z"),
]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (LogOptions(stdout=True, stderr=True), b"out\nerr\nend\n"),
        (LogOptions(stderr=True), b"err\n"),
        (LogOptions(stdout=True, since="2026-11-23T08:52:24.7712432Z"), b"end\n"),
        (LogOptions(stdout=True, since=f"{NOW_NS // 10**9 + 1}"), b"end\n"),
        (LogOptions(stdout=True, since="0"), b"out\nend\n"),
        (LogOptions(stdout=True, stderr=True, until="2026-11-23T08:52:24.9Z"), b"out\nerr\n"),
        (LogOptions(stderr=True, details=True), b"a=1,b=2+3 err\n"),
        (
            LogOptions(stderr=True, details=True, timestamps=True),
            b"2026-11-23T08:52:24.771900000Z a=1,b=2+3 err\n",
        ),
    ],
)
def test_lines_are_selected_and_written_as_asked(options: LogOptions, text: bytes) -> None:
    assert render(LINES, select(options, framed=False, now_ns=NOW_NS)) == text


def test_lines_are_framed_by_their_stream() -> None:
    wished = select(LogOptions(stdout=True, stderr=True, timestamps=True), framed=True, now_ns=NOW_NS)
    assert render(LINES[:2], wished) == (
        b"\x01\0\0\0\0\0\0#2026-11-23T08:52:24.771243173Z out\n"
        b"\x02\0\0\0\0\0\0#2026-11-23T08:52:24.771900000Z err\n"
    )


def test_a_time_that_is_none_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidParameter, match='parsing "abc": invalid syntax'):
        select(LogOptions(since="abc"), framed=False, now_ns=NOW_NS)


@pytest.mark.parametrize(("tail", "count"), [("all", None), ("abc", None), ("0", 0), ("7", 7)])
def test_a_tail_that_is_no_number_is_everything(tail: str, count: int | None) -> None:
    assert select(LogOptions(tail=tail), framed=False, now_ns=NOW_NS).tail == count


def lines(first: int, last: int) -> bytes:
    return b"".join(b'{"log":"%d\\n"}\n' % number for number in range(first, last))


def numbers(block: bytes) -> list[int]:
    return [int(line.log) for line in decode_lines(block)]


@pytest.fixture(params=[7, 64, 1 << 18], ids=["tiny", "small", "whole"])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(log_reader, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(log_forms, "BLOCK_BYTES", request.param)
    return int(request.param)


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("tail", [0, 1, 2, 5, 9, 10, 11, 25, 30, 31, 99])
def test_a_tail_reaches_back_into_rotated_files(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(lines(20, 30))
    (tmp_path / "x-json.log.1").write_bytes(lines(10, 20))
    (tmp_path / "x-json.log.2").write_bytes(lines(0, 10))
    reader = LogReader(path, JsonLines(), tail=tail)
    found = []
    while block := reader.read():
        found += numbers(block)
    reader.close()
    assert found == list(range(30))[max(0, 30 - tail) :]


@pytest.mark.usefixtures("block_bytes")
def test_a_reader_goes_on_where_it_was_through_rotations(tmp_path: Path) -> None:
    path, elder, eldest = (tmp_path / f"x-json.log{suffix}" for suffix in ("", ".1", ".2"))
    reader = LogReader(path, JsonLines())
    assert reader.read() == b""
    path.write_bytes(lines(0, 3))
    found = read_all(reader)
    with path.open("ab") as log:
        log.write(lines(3, 5) + b'{"log":"5')
        log.flush()
        found += read_all(reader)
        assert found == list(range(5))
        log.write(b'\\n"}\n')
    path.rename(elder)
    path.write_bytes(lines(6, 8))
    elder.rename(eldest)
    path.rename(elder)
    path.write_bytes(lines(8, 9))
    assert found + read_all(reader) == list(range(9))
    reader.close()


def read_all(reader: LogReader) -> list[int]:
    found = []
    while block := reader.read():
        found += numbers(block)
    return found


def test_a_line_that_is_being_written_is_no_line_of_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(lines(0, 3) + b'{"log":"3')
    with path.open("rb") as log:
        tail = JsonLines().tail(log.fileno(), 1)
        assert (path.read_bytes()[tail.offset :], tail.missing) == (b'{"log":"3', 0)


# Records: many lines in one entry


def kept(first: int, last: int, *, at_once: int) -> bytes:
    """Records of so many lines each, a line that never ended at the end of each tenth."""
    encoder, numbers = RecordEncoder(1), range(first, last)
    pieces = [numbers[at : at + at_once] for at in range(0, len(numbers), at_once)]
    return b"".join(encoder.feed(b"".join(b"%d\n" % each for each in piece), NOW_NS) for piece in pieces)


def said(block: bytes) -> list[int]:
    return [int(line) for each in records(block) for line in each.output.split()]


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("at_once", [1, 4, 100])
@pytest.mark.parametrize("tail", [0, 1, 2, 5, 9, 10, 11, 25, 30, 31, 99])
def test_a_tail_of_records_begins_in_the_midst_of_one(tmp_path: Path, tail: int, at_once: int) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(kept(20, 30, at_once=at_once))
    (tmp_path / "x.log.1").write_bytes(kept(10, 20, at_once=at_once))
    (tmp_path / "x.log.2").write_bytes(kept(0, 10, at_once=at_once))
    reader = LogReader(path, Records(), tail=tail)
    found = []
    while block := reader.read():
        found += said(block)
    reader.close()
    assert found == list(range(30))[max(0, 30 - tail) :]


def test_a_record_that_is_being_written_is_no_part_of_the_tail(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(kept(0, 3, at_once=1) + record(1, b"torn\n", NOW_NS)[:-3])
    reader = LogReader(path, Records(), tail=2)
    assert said(reader.read()) == [1, 2]
    assert reader.read() == b""
    reader.close()


RECORDS_READ = [
    Record(1, NOW_NS + 771_243_173, b"out\nput\n"),
    Record(2, NOW_NS + 771_900_000, b"err\n"),
    Record(1, NOW_NS + 10**9, b"no end"),
]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (LogOptions(stdout=True, stderr=True), b"out\nput\nerr\nno end"),
        (LogOptions(stderr=True), b"err\n"),
        (LogOptions(stdout=True, since="2026-11-23T08:52:24.7712432Z"), b"no end"),
        (LogOptions(stdout=True, stderr=True, until="2026-11-23T08:52:24.9Z"), b"out\nput\nerr\n"),
        (LogOptions(stdout=True, details=True, until="2026-11-23T08:52:24.9Z"), b"a=1 out\na=1 put\n"),
        (
            LogOptions(stderr=True, details=True, timestamps=True),
            b"2026-11-23T08:52:24.771900000Z a=1 err\n",
        ),
    ],
)
def test_records_are_selected_and_written_as_lines(options: LogOptions, text: bytes) -> None:
    wished = select(options, framed=False, now_ns=NOW_NS)
    assert render_records(RECORDS_READ, wished, {"a": "1"}) == text


def test_records_are_framed_line_by_line() -> None:
    wished = select(LogOptions(stdout=True, stderr=True), framed=True, now_ns=NOW_NS)
    assert render_records(RECORDS_READ[:2], wished, {}) == (
        b"\x01\0\0\0\0\0\0\x04out\n\x01\0\0\0\0\0\0\x04put\n\x02\0\0\0\0\0\0\x04err\n"
    )


# Following while the log is rotated

FORMATS = {JsonLines: log_file.LINES, Records: log_file.RECORDS}


@pytest.mark.parametrize("form", ["json", "records"])
@pytest.mark.parametrize(("files", "compress"), [(6, False), (6, True)])
def test_a_reader_loses_and_repeats_nothing_while_the_log_is_rotated(
    tmp_path: Path, form: str, files: int, compress: bool
) -> None:
    path = tmp_path / "x.log"
    encoder = Encoder("stdout") if form == "json" else RecordEncoder(1)
    log = LogFile(
        str(path), 2_000, files, log_file.LINES if form == "json" else log_file.RECORDS, compress=compress
    )
    reader = LogReader(path, JsonLines() if form == "json" else Records())
    numbers_of = numbers if form == "json" else said
    chance, written, found = random.Random(7), 0, []
    while written < 3_000:
        count = chance.randrange(1, 30)
        output = b"".join(b"%d\n" % number for number in range(written, written + count))
        assert log.write(encoder.feed(output, NOW_NS)) == ""
        written += count
        if chance.random() < 0.7:
            while block := reader.read():
                found += numbers_of(block)
    log.close()
    while block := reader.read():
        found += numbers_of(block)
    reader.close()
    assert found == list(range(written))


def test_what_is_written_between_a_look_and_the_rotation_is_read(tmp_path: Path) -> None:
    encoder, log = Encoder("stdout"), LogFile(str(tmp_path / "x.log"), 100, 6, log_file.LINES)
    output = [b"2\n", b"3\n" * 9, b"4\n"]  # the second fills the file, the third goes into the next one

    class Late(LogReader):
        def _newer(self) -> log_reader._File | None:
            while found and output:  # it has read its file to the end just now
                log.write(encoder.feed(output.pop(0), NOW_NS))
            return super()._newer()

    found: list[int] = []
    log.write(encoder.feed(b"1\n", NOW_NS))
    reader = Late(tmp_path / "x.log", JsonLines())
    while block := reader.read():
        found += numbers(block)
    reader.close()
    log.close()
    assert found == [1, 2, *[3] * 9, 4]


@pytest.mark.parametrize("form", [JsonLines(), Records()], ids=["json", "records"])
def test_a_reader_follows_a_writer_that_rotates_as_fast_as_it_can(tmp_path: Path, form: LogForm) -> None:
    """Side by side, with as many files as are written: so nothing may be lost."""
    path, count = tmp_path / "x.log", 10_000
    writer = os.fork()
    if writer == 0:
        try:
            encoder = Encoder("stdout") if isinstance(form, JsonLines) else RecordEncoder(1)
            log = LogFile(str(path), 10_000, 1_000, FORMATS[type(form)])
            for number in range(0, count, 10):
                output = b"".join(b"%d\n" % each for each in range(number, number + 10))
                log.write(encoder.feed(output, NOW_NS))
        finally:
            os._exit(0)
    reader, found = LogReader(path, form), 0
    numbers_of = numbers if isinstance(form, JsonLines) else said
    while found < count:
        while block := reader.read():
            told = numbers_of(block)
            assert told == list(range(found, found + len(told)))
            found += len(told)
        if os.waitpid(writer, os.WNOHANG)[0]:
            break
    while block := reader.read():
        found += len(numbers_of(block))
    reader.close()
    assert found == count


PS = """UID          PID    PPID  C STIME TTY          TIME CMD
root        9136    9116  2 08:52 ?        00:00:00 sleep 300
root        9137    9116  2 08:52 ?        00:00:00 other
"""


def test_the_rows_of_ps_are_those_of_the_container() -> None:
    answer = parse_ps(PS, [9136])
    assert answer.titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert answer.processes == [["root", "9136", "9116", "2", "08:52", "?", "00:00:00", "sleep 300"]]


def test_threads_follow_their_process() -> None:
    answer = parse_ps("PID LWP\n7 -\n- 7\n8 -\n- 8\n", [7])
    assert answer.processes == [["7", "-"], ["-", "7"]]


def test_ps_must_show_pids() -> None:
    with pytest.raises(InvalidParameter, match="Couldn't find PID field in ps output"):
        parse_ps("COMMAND\nsleep\n", [7])
    with pytest.raises(InvalidParameter, match='specifying "ppid=PID" is not allowed'):
        check_ps_args("-o ppid=PID")
    assert check_ps_args("-o pid,comm") == ["-o", "pid,comm"]
