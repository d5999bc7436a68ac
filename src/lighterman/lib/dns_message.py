"""DNS messages: the question of a query, and answers to it. Pure; what is not understood is not touched.

Enough for a resolver that answers some names itself and hands all else on as raw bytes: one question is
read, records are written with their name as a pointer to it, nothing is ever decoded and encoded again.
Source: RFC 1035 section 4, RFC 3596 (AAAA), RFC 6891 (EDNS), RFC 8482.
"""

import ipaddress
import struct
from collections.abc import Sequence

from msgspec import Struct

A, PTR, AAAA, OPT = 1, 12, 28, 41
IN = 1
OK, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = 0, 1, 2, 3, 4, 5

PLAIN_UDP_BYTES = 512
"""What a UDP answer may have when the query does not say."""

_HEADER = struct.Struct("!HHHHHH")  # id, flags, questions, answers, authorities, additional
_TWO = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")  # type, class, seconds to live, bytes of data
_ANSWER, _TRUNCATED, _RECURSION_WANTED, _RECURSION_HERE, _OPCODE = 0x8000, 0x0200, 0x0100, 0x0080, 0x7800
_POINTER_TO_QUESTION = b"\xc0\x0c"
_OUR_UDP_BYTES = 1232

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotAQuery(ValueError):
    """Bytes that are no query; there is nobody to answer."""


class Query(Struct, frozen=True):
    """A query with one question; `name` in small letters without its last dot ("" is the root).

    `complaint` is the code of an answer that says only what is wrong, OK (0) when nothing is.
    """

    id: int
    flags: int
    name: str
    kind: int
    question: bytes  # as it came, to be sent back
    udp_bytes: int = PLAIN_UDP_BYTES
    has_edns: bool = False
    complaint: int = OK


def parse_query(data: bytes) -> Query:
    """The query in `data`. Raises: NotAQuery."""
    try:
        number, flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
    except struct.error:
        raise NotAQuery("shorter than a header") from None
    if flags & _ANSWER:
        raise NotAQuery("an answer")
    if flags & _OPCODE:
        return Query(number, flags, "", 0, b"", complaint=NOT_IMPLEMENTED)
    try:
        if (questions, answers, authorities) != (1, 0, 0):
            raise ValueError("not one question")
        name, at = _name(data, _HEADER.size)
        kind, _family = _TWO.unpack_from(data, at)
        udp_bytes = _edns(data, at + 4) if additional else None
    except (ValueError, struct.error, IndexError):
        return Query(number, flags, "", 0, b"", complaint=FORMAT_ERROR)
    return Query(
        id=number,
        flags=flags,
        name=name,
        kind=kind,
        question=data[_HEADER.size : at + 4],
        udp_bytes=max(udp_bytes or 0, PLAIN_UDP_BYTES),
        has_edns=udp_bytes is not None,
    )


def answer(
    query: Query,
    records: Sequence[tuple[int, bytes]] = (),
    *,
    code: int = OK,
    seconds: int = 0,
    limit_bytes: int = 65535,
) -> bytes:
    """The answer to `query`: `records` are (type, data) of its name; those beyond the limit are left out, and
    the answer says that it is truncated."""
    flags = _ANSWER | _RECURSION_HERE | query.flags & (_RECURSION_WANTED | _OPCODE) | code
    tail = _edns_record() if query.has_edns else b""
    room = limit_bytes - _HEADER.size - len(query.question) - len(tail)
    body, count = bytearray(), 0
    for kind, data in records:
        record = _POINTER_TO_QUESTION + _RECORD.pack(kind, IN, seconds, len(data)) + data
        if len(body) + len(record) > room:
            flags |= _TRUNCATED
            break
        body += record
        count += 1
    head = _HEADER.pack(query.id, flags, 1 if query.question else 0, count, 0, 1 if tail else 0)
    return head + query.question + bytes(body) + tail


def encode_name(name: str) -> bytes:
    """The name as labels, each with its length before it. Raises: ValueError."""
    packed = bytearray()
    for label in name.encode().split(b"."):
        if not 0 < len(label) < 64:
            raise ValueError(f"{name}: a label has 1 to 63 bytes")
        packed.append(len(label))
        packed += label
    if len(packed) > 254:
        raise ValueError(f"{name}: a name has 255 bytes at most")
    return bytes(packed + b"\0")


def reverse_address(name: str) -> Address | None:
    """The address of "2.0.17.172.in-addr.arpa" and its like of IPv6; None when the name is no such one."""
    if name.endswith(".in-addr.arpa"):
        text = ".".join(reversed(name.removesuffix(".in-addr.arpa").split(".")))
    elif name.endswith(".ip6.arpa"):
        nibbles = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
        text = ":".join(nibbles[at : at + 4] for at in range(0, len(nibbles), 4))
    else:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def with_id(data: bytes, number: int) -> bytes:
    """The message with another id."""
    return number.to_bytes(2, "big") + data[2:]


def answers(data: bytes, query: Query, number: int) -> bool:
    """Whether `data` is an answer to `query` as it was sent under the id `number`."""
    if len(data) < _HEADER.size or int.from_bytes(data[:2], "big") != number or not data[2] & 0x80:
        return False
    end = _HEADER.size + len(query.question)
    asked = data[_HEADER.size : end]
    # a server that could not read the question sends none back
    return asked == query.question or (data[4:6] == b"\0\0" and code_of(data) != OK)


def record_count(data: bytes) -> int:
    """How many records an answer has for its question."""
    return int.from_bytes(data[6:8], "big")


def code_of(data: bytes) -> int:
    """The code of an answer."""
    return data[3] & 0xF


def _name(data: bytes, at: int) -> tuple[str, int]:
    """The name at `at`, and where it ends. A question's name is never compressed."""
    labels, length = [], 0
    while (size := data[at]) != 0:
        if size > 63:
            raise ValueError("compressed or unknown label")
        label = data[at + 1 : at + 1 + size]
        length += size + 1
        if len(label) < size or length > 254 or b"." in label:
            raise ValueError("bad label")
        labels.append(label)
        at += size + 1
    return b".".join(labels).decode("utf-8", "replace").lower(), at + 1


def _edns(data: bytes, at: int) -> int | None:
    """The UDP bytes of the OPT record that begins at `at`; None when something else does."""
    kind, size = _TWO.unpack_from(data, at + 1)
    return int(size) if data[at] == 0 and kind == OPT else None


def _edns_record() -> bytes:
    return b"\0" + _RECORD.pack(OPT, _OUR_UDP_BYTES, 0, 0)
