"""The form of what log drivers send."""

import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib.json_log import decode_lines
from lighterman.lib.log_records import Entry, Partial, records
from lighterman.runtime.drivers import fluentd, gelf, journald, syslog
from lighterman.runtime.drivers.file import File, joined
from lighterman.runtime.drivers.splunk import Events
from lighterman.runtime.fields import Fields, encode

NOON = 1_700_000_000_123_456_789  # 2023-11-14T22:13:20.123456789Z
OUT, ERR = Entry(1, NOON, b"hi", None), Entry(2, NOON, b"oh", None)
CUT = Entry(1, NOON, b"begin", Partial("abc", 1, False))


@pytest.fixture(params=["UTC", "Asia/Kolkata", "America/St_Johns"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield str(request.param)
    monkeypatch.undo()
    time.tzset()


def form(name: str, *, framed: bool = False) -> syslog.Form:
    return syslog.Form(name, 3, "host", "tag", 7, framed=framed)


SYSLOG = {
    "": b"<30>%s tag[7]: hi\n",
    "rfc3164": b"<30>%s host tag[7]: hi\n",
    "rfc5424": b"<30>1 %s host tag 7 tag - hi\n",
    "rfc5424micro": b"<30>1 %s host tag 7 tag - hi\n",
}
STAMPS = {
    "UTC": (b"Nov 14 22:13:20", b"2023-11-14T22:13:20Z", b"2023-11-14T22:13:20.123456Z"),
    "Asia/Kolkata": (
        b"Nov 15 03:43:20",
        b"2023-11-15T03:43:20+05:30",
        b"2023-11-15T03:43:20.123456+05:30",
    ),
    "America/St_Johns": (
        b"Nov 14 18:43:20",
        b"2023-11-14T18:43:20-03:30",
        b"2023-11-14T18:43:20.123456-03:30",
    ),
}


@pytest.mark.parametrize("name", SYSLOG)
def test_syslog_messages_have_their_form_and_local_time(zone: str, name: str) -> None:
    stamp = STAMPS[zone][{"rfc5424": 1, "rfc5424micro": 2}.get(name, 0)]
    assert form(name).message(OUT) == SYSLOG[name] % stamp


def test_syslog_takes_stderr_for_errors_and_counts_the_bytes_of_frames() -> None:
    assert form("").message(ERR).startswith(b"<27>")
    length, _, text = form("rfc5424", framed=True).message(OUT).partition(b" ")
    assert int(length) == len(text)


@given(st.binary(), st.binary(max_size=5))
def test_journal_fields_can_be_read_back_whatever_they_hold(value: bytes, more: bytes) -> None:
    assert journal(journald.field("A", value) + journald.field("B", more)) == {"A": value, "B": more}


def journal(datagram: bytes) -> dict[str, bytes]:
    """The fields of a datagram, as systemd reads them."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, has_value, value = line.partition(b"=")
        if not has_value:
            size = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + size], datagram[9 + size :]
        fields[name.decode()] = value
    return fields


def test_the_journal_is_told_priority_and_pieces() -> None:
    told = journal(journald.message(CUT, journald.field("CONTAINER_NAME", b"box"), 3))
    assert told["MESSAGE"] == b"begin"
    assert (told["PRIORITY"], told["CONTAINER_NAME"], told["CONTAINER_LOG_ORDINAL"]) == (b"6", b"box", b"3")
    assert (told["CONTAINER_PARTIAL_ID"], told["CONTAINER_PARTIAL_MESSAGE"]) == (b"abc", b"true")
    assert journal(journald.message(ERR, b"", 1))["PRIORITY"] == b"3"


@given(st.binary(max_size=200).filter(lambda line: b"\n" not in line))
def test_gelf_messages_are_json(line: bytes) -> None:
    told = json.loads(gelf.message(Entry(2, NOON, line, None), b"host", b'{"_a":"b"}'))
    assert told["version"] == "1.1"
    assert (told["level"], told["timestamp"], told["_a"]) == (3, 1700000000.123, "b")
    assert line.isascii() is False or told["short_message"] == line.decode()


@given(st.integers(0, 128 * 1408))
def test_gelf_chunks_join_to_the_message(size: int) -> None:
    packed = b"x" * size
    pieces = gelf.chunks(packed, b"12345678")
    assert all(len(piece) <= gelf.CHUNK for piece in pieces)
    if size <= gelf.CHUNK:
        assert pieces == [packed]
        return
    assert [(piece[:10], piece[10], piece[11]) for piece in pieces] == [
        (b"\x1e\x0f12345678", number, len(pieces)) for number in range(len(pieces))
    ]
    assert b"".join(piece[12:] for piece in pieces) == packed


def test_gelf_refuses_what_needs_too_many_chunks() -> None:
    with pytest.raises(OSError, match="msg too large, would need 129 chunks"):
        gelf.chunks(b"x" * (128 * 1408 + 1), b"12345678")


@pytest.mark.parametrize(("kind", "window"), [("gzip", 31), ("zlib", 15)])
def test_gelf_packs_as_asked(kind: str, window: int) -> None:
    assert zlib.decompress(gelf.packed(b"text", kind, 1), window) == b"text"
    assert gelf.packed(b"text", "none", 1) == b"text"


@given(
    st.dictionaries(st.text(max_size=5), st.text(), max_size=20),
    st.text().filter(lambda text: "\n" not in text),
)
def test_fluentd_messages_are_msgpack(fields: dict[str, str], line: str) -> None:
    common = {b"container_id": b"1", b"container_name": b"/box"}
    common |= {name.encode(): value.encode() for name, value in fields.items()}
    entry = Entry(1, NOON, line.encode(), None)
    tag, when, record, option = msgspec.msgpack.decode(
        fluentd.message(b"tag", entry, common, exact=False, chunk=b"")
    )
    assert (tag, when, option) == ("tag", 1700000000, {})
    told = {"container_id": "1", "container_name": "/box", "source": "stdout", "log": line}
    assert record == {**told, **fields}


def test_fluentd_is_told_nanoseconds_pieces_and_what_to_acknowledge() -> None:
    common = {b"container_id": b"1", b"container_name": b"/box"}
    message = fluentd.message(b"tag", CUT, common, exact=True, chunk=b"id")
    _, when, record, option = msgspec.msgpack.decode(message)
    assert (when.code, bytes(when.data)) == (0, b"".join(n.to_bytes(4, "big") for n in divmod(NOON, 10**9)))
    assert (record["partial_id"], record["partial_ordinal"], record["partial_last"]) == ("abc", "1", "false")
    assert option == {"chunk": "id"}


def test_fluentd_is_tried_again_ever_more_slowly() -> None:
    assert [fluentd.retry_wait_s(1000, tries) for tries in (1, 2, 3, 99)] == [1, 1.5, 2.25, 60]


@pytest.mark.parametrize(
    ("form", "line", "event"),
    [
        ("inline", b'{"a":1}', {"line": '{"a":1}', "source": "stdout", "tag": "t", "attrs": {"k": "v"}}),
        ("json", b'{"a":1}', {"line": {"a": 1}, "source": "stdout", "tag": "t", "attrs": {"k": "v"}}),
        ("json", b"{", {"line": "{", "source": "stdout", "tag": "t", "attrs": {"k": "v"}}),
        ("raw", b"hi", "t k=v hi"),
    ],
)
def test_splunk_events_have_the_form_that_was_asked_for(form: str, line: bytes, event: object) -> None:
    events = Events(form, "t", {"k": "v"}, {"host": "h", "source": ""})
    assert json.loads(events.event(Entry(1, NOON, line, None))) == {
        "event": event,
        "time": "1700000000.123456",
        "host": "h",
    }
    assert Events("raw", "", {}, {}).event(Entry(1, NOON, b"  ", None)) == b""


ENTRIES = [
    OUT,
    Entry(1, NOON, b"", None),
    CUT,
    ERR,
    Entry(1, NOON, b"end", Partial("abc", 2, True)),
    Entry(1, NOON + 1, b"later", None),
]


def test_a_file_gets_back_the_output_that_was_taken_apart() -> None:
    assert joined(ENTRIES) == [
        (1, NOON, b"hi\n\nbegin"),
        (2, NOON, b"oh\n"),
        (1, NOON, b"end\n"),
        (1, NOON + 1, b"later\n"),
    ]


@pytest.mark.parametrize("form", ["json", "records"])
def test_files_of_both_forms_can_be_written_by_a_helper(tmp_path: Path, form: str) -> None:
    path = f"{tmp_path}/log"
    File(Fields(encode(log=path, log_format=form, log_files=1, attrs='{"a":"b"}'))).send(ENTRIES)
    with open(path, "rb") as file:
        content = file.read()
    if form == "json":
        lines = decode_lines(content)
        assert "".join(line.log for line in lines) == "hi\n\nbeginoh\nend\nlater\n"
        assert lines[0].attrs == {"a": "b"}
    else:
        assert b"".join(each.output for each in records(content)) == b"hi\n\nbeginoh\nend\nlater\n"
