"""The codec of DNS messages."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.lib import dns_message as dns

LABELS = st.lists(st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=63), min_size=1, max_size=3)


def query(name: str, kind: int = dns.A, *, number: int = 7, edns: int | None = None) -> bytes:
    """A query as a resolver sends it."""
    tail = b"" if edns is None else b"\0" + struct.pack("!HHIH", dns.OPT, edns, 0, 0)
    head = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1 if tail else 0)
    return head + dns.encode_name(name) + struct.pack("!HH", kind, dns.IN) + tail


@given(LABELS, st.integers(0, 65535), st.integers(1, 65535), st.none() | st.integers(0, 65535))
def test_what_was_asked_is_read(labels: list[str], number: int, kind: int, edns: int | None) -> None:
    read = dns.parse_query(query(".".join(labels), kind, number=number, edns=edns))
    assert (read.id, read.kind, read.complaint) == (number, kind, dns.OK)
    assert read.name == ".".join(labels).lower()
    assert read.udp_bytes == max(edns or 0, 512)


@given(st.binary(max_size=80))
def test_nonsense_is_dropped_or_complained_about(data: bytes) -> None:
    try:
        read = dns.parse_query(data)
    except dns.NotAQuery:
        return
    assert dns.answer(read, code=read.complaint)[:2] == data[:2]


@given(st.binary(max_size=40), st.integers(0, 40))
def test_a_query_cut_or_flipped_never_breaks_the_reader(noise: bytes, at: int) -> None:
    data = query("db.example.org", edns=1232)
    for changed in (data[:at], data[:at] + noise + data[at:]):
        try:
            dns.parse_query(changed)
        except dns.NotAQuery:
            continue


def test_the_root_is_a_name() -> None:
    data = struct.pack("!HHHHHH", 7, 0, 1, 0, 0, 0) + b"\0" + struct.pack("!HH", dns.A, dns.IN)
    assert dns.parse_query(data).name == ""


def test_two_questions_and_other_operations_are_complained_about() -> None:
    data = bytearray(query("a"))
    data[5] = 2
    assert dns.parse_query(bytes(data)).complaint == dns.FORMAT_ERROR
    data[2] = 0x28  # an update
    assert dns.parse_query(bytes(data)).complaint == dns.NOT_IMPLEMENTED


def test_an_answer_repeats_the_question_as_it_was_written() -> None:
    asked = dns.parse_query(query("Db.Net"))
    told = dns.answer(asked, [(dns.A, ip_address("10.0.0.2").packed)])
    assert b"\x02Db\x03Net\0" in told
    number, flags, questions, answers, _, additional = struct.unpack_from("!HHHHHH", told)
    assert (number, flags, questions, answers, additional) == (7, 0x8180, 1, 1, 0)
    assert told.endswith(ip_address("10.0.0.2").packed)


def test_who_speaks_edns_is_answered_with_it() -> None:
    told = dns.answer(dns.parse_query(query("a", edns=4096)))
    assert told[-11:-8] == b"\0\0\x29"


@given(st.integers(1, 200), st.sampled_from([None, 512, 1232, 4096]))
def test_what_does_not_fit_is_left_out_and_told(count: int, edns: int | None) -> None:
    asked = dns.parse_query(query("pool", edns=edns))
    records = [(dns.A, bytes([10, 0, 0, number % 250])) for number in range(count)]
    told = dns.answer(asked, records, limit_bytes=asked.udp_bytes)
    (kept,) = struct.unpack_from("!H", told, 6)
    assert len(told) <= asked.udp_bytes
    assert bool(told[2] & 2) == (kept < count)
    assert struct.unpack_from("!H", dns.answer(asked, records), 6) == (count,)


@pytest.mark.parametrize("text", ["172.17.0.2", "fd00::12"])
def test_a_reverse_name_is_an_address(text: str) -> None:
    address = ip_address(text)
    assert dns.reverse_address(address.reverse_pointer) == address


@pytest.mark.parametrize(
    "name", ["db", "a.b.in-addr.arpa", "1.2.3.in-addr.arpa", "1.ip6.arpa", "in-addr.arpa"]
)
def test_other_names_are_none(name: str) -> None:
    assert dns.reverse_address(name) is None


def test_an_answer_to_something_else_is_none() -> None:
    asked = dns.parse_query(query("a"))
    told = dns.answer(asked, [])
    assert dns.answers(told, asked, 7)
    assert not dns.answers(told, asked, 8)
    assert not dns.answers(query("a"), asked, 7)
    assert not dns.answers(dns.answer(dns.parse_query(query("b"))), asked, 7)
    assert not dns.answers(b"\0\7", asked, 7)


@pytest.mark.parametrize("name", ["a..b", "x" * 64, ".".join(["x" * 60] * 5), ""])
def test_names_that_are_none_are_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        dns.encode_name(name)
