"""A log is read from any place of its files, selected and framed as the client asked."""

from pathlib import Path

import pytest

from lighterman.containers import log_reader
from lighterman.containers.log_reader import LogReader, tail_offset
from lighterman.containers.logs import LogOptions, render, select
from lighterman.containers.top import check_ps_args, parse_ps
from lighterman.errdefs import InvalidParameter
from lighterman.lib.json_log import Line, decode_lines

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
    return int(request.param)


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("tail", [0, 1, 2, 5, 9, 10, 11, 25, 30, 31, 99])
def test_a_tail_reaches_back_into_rotated_files(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(lines(20, 30))
    (tmp_path / "x-json.log.1").write_bytes(lines(10, 20))
    (tmp_path / "x-json.log.2").write_bytes(lines(0, 10))
    reader = LogReader(path, tail=tail)
    found = []
    while block := reader.read():
        found += numbers(block)
    reader.close()
    assert found == list(range(30))[max(0, 30 - tail) :]


@pytest.mark.usefixtures("block_bytes")
def test_a_reader_goes_on_where_it_was_through_rotations(tmp_path: Path) -> None:
    path, elder, eldest = (tmp_path / f"x-json.log{suffix}" for suffix in ("", ".1", ".2"))
    reader = LogReader(path)
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
        offset, missing = tail_offset(log.fileno(), 1)
        assert (path.read_bytes()[offset:], missing) == (b'{"log":"3', 0)


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
