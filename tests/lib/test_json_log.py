"""Writer and reader of the json-file log, against each other and against what dockerd writes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.json_log import Line, decode_lines
from lighterman.lib.json_log_encoder import MAX_LINE, Encoder, stamp

NOON = 1_700_000_000_000_000_000
TIME = "2023-11-14T22:13:20Z"


def written(*pieces: bytes, attrs: bytes = b"") -> bytes:
    encoder = Encoder("stdout", attrs)
    return b"".join(encoder.feed(piece, NOON) for piece in pieces) + encoder.close(NOON)


def logs(*pieces: bytes) -> list[str]:
    return [line.log for line in decode_lines(written(*pieces))]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "2023-11-14T22:13:20Z"),
        (120_000_000, "2023-11-14T22:13:20.12Z"),
        (1, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_a_time_has_no_trailing_zeros(ns: int, text: str) -> None:
    assert stamp(NOON + ns) == text.encode()


def test_a_line_has_dockerd_s_form_to_the_byte() -> None:
    assert written(b"hi\n") == b'{"log":"hi\\n","stream":"stdout","time":"%s"}\n' % TIME.encode()


def test_attributes_stand_between_stream_and_time() -> None:
    assert b'"stream":"stdout","attrs":{"a":"b"},"time":' in written(b"hi\n", attrs=b'{"a":"b"}')


@pytest.mark.parametrize(
    ("output", "inside"),
    [
        (b'a"b\\c', b'a\\"b\\\\c'),
        (b"<&>", b"\\u003c\\u0026\\u003e"),
        (b"\t\r\x00\x1b\x7f", b"\\u0009\\r\\u0000\\u001b\x7f"),
        ("\u00e9 \u2028\u2029".encode(), "\u00e9 ".encode() + b"\\u2028\\u2029"),
        (b"\xff\xe2\x82x", b"\\ufffd\\ufffd\\ufffdx"),  # Go counts bytes, not maximal parts
        (b"\\n", b"\\\\n"),
    ],
)
def test_what_json_or_go_cannot_show_is_escaped_as_go_does(output: bytes, inside: bytes) -> None:
    assert written(output).startswith(b'{"log":"' + inside + b'","stream"')


@pytest.mark.parametrize("length", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 2 * MAX_LINE, 2 * MAX_LINE + 5])
def test_a_long_line_is_cut_and_only_its_last_entry_ends_with_a_newline(length: int) -> None:
    lines = logs(b"x" * length + b"\n", b"next\n")
    assert [len(line) for line in lines[:-2]] == [MAX_LINE] * (length // MAX_LINE)
    assert lines[-2] == "x" * (length % MAX_LINE) + "\n"
    assert lines[-1] == "next\n"


def test_the_cut_of_a_long_line_tears_no_character() -> None:
    text = "x" + "é" * MAX_LINE
    assert "".join(logs(text.encode())) == text


def test_an_unfinished_line_is_written_at_the_end_without_a_newline() -> None:
    assert logs(b"a\nb") == ["a\n", "b"]


@given(st.lists(st.text(max_size=30).map(str.encode), max_size=8))
def test_the_log_holds_the_output_to_the_byte_however_it_is_cut(pieces: list[bytes]) -> None:
    output = b"".join(pieces)
    assert "".join(logs(*pieces)) == output.decode()
    assert written(*pieces) == written(output)


@given(st.binary(max_size=60))
def test_every_line_is_json_whatever_was_written(output: bytes) -> None:
    for line in written(output).splitlines():
        assert set(json.loads(line)) == {"log", "stream", "time"}


def test_lines_torn_by_a_crash_are_left_out() -> None:
    block = written(b"a\n")[:-9] + b"\n" + written(b"b\n")
    assert decode_lines(block) == [Line(log="b\n", stream="stdout", time=TIME)]
