"""Records give back what was written, to the byte, however it came and wherever it was cut."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.json_log_encoder import MAX_LINE
from lighterman.lib.log_records import EntryReader, RecordEncoder, end_of, record, records, whole

NOON = 1_700_000_000_000_000_000
PIECES = st.lists(st.one_of(st.binary(max_size=50), st.sampled_from([b"\n", b"x" * MAX_LINE, b"y" * 40_000])))


def written(pieces: list[bytes]) -> bytes:
    encoder = RecordEncoder(1)
    return b"".join(encoder.feed(piece, NOON) for piece in pieces) + encoder.close(NOON)


@given(PIECES)
def test_records_hold_all_output_and_no_more(pieces: list[bytes]) -> None:
    kept = list(records(written(pieces)))
    assert b"".join(each.output for each in kept) == b"".join(pieces)
    assert all(0 < len(each.output) <= MAX_LINE and each.time_ns == NOON for each in kept)


@given(PIECES)
def test_entries_are_the_lines(pieces: list[bytes]) -> None:
    ids = count(1)
    reader = EntryReader(lambda: str(next(ids)))
    entries = [entry for each in records(written(pieces)) for entry in reader.feed(each)]
    told = b"".join(
        entry.line + (b"" if entry.partial and not entry.partial.last else b"\n") for entry in entries
    )
    assert told == b"".join(pieces)
    assert all(b"\n" not in entry.line for entry in entries)


def test_the_pieces_of_an_overlong_line_are_counted_and_have_one_time() -> None:
    reader = EntryReader(lambda: "id")
    long = [record(1, b"a" * 10, NOON), record(2, b"between\n", NOON), record(1, b"b\nnext\n", NOON + 5)]
    entries = [entry for each in records(b"".join(long)) for entry in reader.feed(each)]
    assert [
        (each.line, each.time_ns - NOON, each.partial and (each.partial.ordinal, each.partial.last))
        for each in entries
    ] == [
        (b"a" * 10, 0, (1, False)),
        (b"between", 0, None),
        (b"b", 0, (2, True)),
        (b"next", 5, None),
    ]


@pytest.mark.parametrize("cut", range(len(record(1, b"hi\n", NOON))))
def test_a_record_that_is_not_whole_is_none(cut: int) -> None:
    one = record(1, b"hi\n", NOON)
    assert whole(one + one[:cut]) == len(one)
    assert end_of(one[:cut], 0) == 0
