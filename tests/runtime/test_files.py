"""The monitor's small parts: messages, and the log on disk."""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.log_records import record
from lighterman.runtime.exec_root import remove
from lighterman.runtime.fields import Fields, encode
from lighterman.runtime.log_file import RECORDS, LogFile

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))
ITEM = st.text(st.characters(min_codepoint=32, blacklist_categories=["Cs"]), min_size=1)


@given(TEXT, st.integers(), st.booleans(), st.lists(ITEM))
def test_fields_are_read_as_they_were_written(text: str, number: int, flag: bool, items: list[str]) -> None:
    message = Fields(encode(text=text, number=number, flag=flag, items=items))
    assert (message.text("text"), message.number("number")) == (text, number)
    assert (message.flag("flag"), message.items("items")) == (flag, items)


def test_absent_fields_are_empty() -> None:
    message = Fields(b"")
    assert (message.text("a"), message.number("a"), message.flag("a"), message.items("a")) == (
        "",
        0,
        False,
        [],
    )


def test_a_log_goes_on_behind_a_line_torn_by_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"whole\ntorn")
    log = LogFile(str(path), 0, 1)
    log.write(b"next\n")
    log.close()
    assert path.read_bytes() == b"whole\ntorn\nnext\n"


@pytest.mark.parametrize("cut", range(24))
def test_a_record_torn_by_a_crash_does_not_stay(tmp_path: Path, cut: int) -> None:
    path, whole, next = tmp_path / "log", record(1, b"one\n", 7) * 3, record(2, b"two\n", 8)
    path.write_bytes(whole + record(1, b"torn", 9)[:cut])
    log = LogFile(str(path), 0, 1, RECORDS)
    log.write(next)
    log.close()
    assert path.read_bytes() == whole + next


@pytest.mark.parametrize("written", [b"", record(1, b"one\n", 7)[:9]])
def test_a_log_of_records_may_hold_nothing_whole(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(written)
    log = LogFile(str(path), 0, 1, RECORDS)
    log.close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("compress", [False, True])
def test_records_are_rotated_whole(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), 50, 20, RECORDS, compress=compress)
    entries = [record(1, b"%d\n" % number, 7) for number in range(20)]
    assert log.write(b"".join(entries)) == ""
    log.close()
    assert path.read_bytes() == b"".join(entries[-2:])
    assert len([each for each in tmp_path.iterdir() if each.suffix != ".new"]) >= 7


@pytest.mark.parametrize(
    ("max_files", "files"),
    [(1, [b"7\n"]), (2, [b"7\n", b"5\n6\n"]), (4, [b"7\n", b"5\n6\n", b"3\n4\n", b"1\n2\n"])],
)
def test_a_file_is_full_when_a_line_has_reached_the_limit(
    tmp_path: Path, max_files: int, files: list[bytes]
) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), 3, max_files)
    assert log.write(b"".join(b"%d\n" % number for number in range(1, 8))) == ""
    log.close()
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == files


@contextmanager
def limit_of_ten_bytes() -> Iterator[None]:
    """A disk that is full, without a disk: Python ignores the signal that comes with it.

    Within a test only: pytest's own output may be a file too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_costs_lines_and_tears_none(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path), 0, 1)
    with limit_of_ten_bytes():
        assert log.write(b"one\n") == ""
        assert log.write(b"too long\n") == f"write {path}: {os.strerror(errno.EFBIG)}"
        assert log.write(b"two\n") == ""
    log.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_runs_directory_goes_while_a_monitor_still_writes_into_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    execs = run / "x"
    execs.mkdir(parents=True)

    def write() -> None:
        for number in range(300):
            with suppress(OSError):  # its directory is gone, or just going
                (execs / str(number)).mkdir()
                (execs / str(number) / "exit").write_text("exit")

    writer = threading.Thread(target=write)
    writer.start()
    remove(run, [], None)
    writer.join()
    remove(run, [], None)
    assert not run.exists()
