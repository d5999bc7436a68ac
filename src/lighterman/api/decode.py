"""JSON bodies as Go reads them, into the Structs of `apitypes`.

Docker's clients rely on the habits of Go's decoder: keys match without regard to case and the last duplicate
wins, unknown keys are passed over, null leaves a field at its zero value, and a text is taken where Docker
has a "strslice" (`"Cmd": "ls"`). What does not fit is refused in Go's words, which name the field and its
type in Go: tools and people search for these texts.

A body is parsed once, then a *reader* for the wanted type walks it; readers are made from the Struct's type,
once per type. (A strict decode by msgspec alone cannot see a key in the wrong case: it passes over it.)
"""

import binascii
import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from lighterman.errdefs import InvalidParameter

T = TypeVar("T")
Reader = Callable[[Any], Any]

INT64 = range(-(2**63), 2**63)
UNSIGNED = {"uint32": range(2**32), "uint64": range(2**64), "fs.FileMode": range(2**32)}
"""Go's types of numbers whose range is not that of int64."""
STRSLICES = frozenset({"Cmd", "Entrypoint", "Shell", "CapAdd", "CapDrop"})
"""Keys whose lists may be one text. Source: strslice.StrSlice in Docker's API types."""

GO_STRUCTS = {
    "ContainerCreateBody": "runconfig.ContainerConfigWrapper",
    "ContainerUpdateBody": "container.UpdateConfig",
    "ExecCreateBody": "types.ExecConfig",
    "ExecStartBody": "types.ExecStartCheck",
    "HealthConfig": "container.HealthConfig",
    "HostConfig": "container.HostConfig",
    "LogConfig": "container.LogConfig",
    "RestartPolicy": "container.RestartPolicy",
    "Mount": "mount.Mount",
    "NetworkingConfig": "network.NetworkingConfig",
    "EndpointSettings": "network.EndpointSettings",
    "NetworkCreateBody": "types.NetworkCreateRequest",
    "VolumeCreateBody": "volume.VolumeCreateBody",
    "SwarmInitBody": "swarm.InitRequest",
    "SwarmJoinBody": "swarm.JoinRequest",
    "SwarmUnlockBody": "swarm.UnlockRequest",
    "SwarmSpec": "swarm.Spec",
}
"""Our Structs whose Go type has another name or package; the others are in `types`, or in `swarm`."""

GO_FIELDS = {
    "ExposedPorts": "nat.PortSet",
    "PortBindings": "nat.PortMap",
    "Interval": "time.Duration",
    "Timeout": "time.Duration",
    "StartPeriod": "time.Duration",
    "StartInterval": "time.Duration",
    "Retries": "int",
    "MaximumRetryCount": "int",
    "OomScoreAdj": "int",
    "StopTimeout": "int",
    "StopGracePeriod": "time.Duration",
    "Delay": "time.Duration",
    "Window": "time.Duration",
    "Monitor": "time.Duration",
    "HeartbeatPeriod": "time.Duration",
    "NodeCertExpiry": "time.Duration",
    "ElectionTick": "int",
    "HeartbeatTick": "int",
    "Mode": "fs.FileMode",
    "Replicas": "uint64",
    "Parallelism": "uint64",
    "MaxAttempts": "uint64",
    "ForceUpdate": "uint64",
    "ForceRotate": "uint64",
    "MaxReplicas": "uint64",
    "SnapshotInterval": "uint64",
    "KeepOldSnapshots": "uint64",
    "LogEntriesForSlowFollowers": "uint64",
    "TargetPort": "uint32",
    "PublishedPort": "uint32",
    "SubnetSize": "uint32",
    "DataPathPort": "uint32",
}
"""Fields whose type in Go cannot be told from ours."""

_BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Number(str):
    """A number that is no integer in Go's eyes (5.5, 1e9), as it was written."""


class _Mismatch(Exception):
    """What was found where something else was wanted; each Struct on the way out adds its field."""

    def __init__(self, found: str, wanted: str) -> None:
        self.found, self.wanted = found, wanted
        self.struct = ""
        self.path: list[str] = []

    def __str__(self) -> str:
        place = f"struct field {self.struct}.{'.'.join(self.path)}" if self.path else "value"
        return f"json: cannot unmarshal {self.found} into Go {place} of type {self.wanted}"


def decode(body: bytes, kind: type[T]) -> T:
    """The Struct that a JSON body holds. Trailing bytes are passed over, as dockerd 20.10 does.

    Raises: InvalidParameter in Go's words: syntax, or the first value that does not fit.
    """
    try:
        value = _parse(body)
        struct: T = kind() if value is None else _reader(kind)(value)  # type: ignore[arg-type] # a type is hashable
    except _Mismatch as mismatch:
        raise InvalidParameter(str(mismatch)) from None
    except RecursionError:
        raise InvalidParameter("exceeded max depth") from None
    return struct


def _last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, its keys in the order in which each was written last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.pop(key, None)
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise InvalidParameter(f"invalid character '{name.lstrip('-')[0]}' looking for beginning of value")


_PARSER = json.JSONDecoder(object_pairs_hook=_last_wins, parse_float=_Number, parse_constant=_no_constant)


def _parse(body: bytes) -> Any:
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise InvalidParameter("EOF")
    try:
        return _PARSER.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise InvalidParameter(_syntax(error)) from None
    except ValueError as error:  # more digits than Python is willing to read
        raise InvalidParameter("json: cannot unmarshal number into Go value of type int64") from error


_EXPECTED = (
    ("Expecting property name", "looking for beginning of object key string"),
    ("Expecting ':'", "after object key"),
    ("Expecting ','", "after object key:value pair"),
    ("Invalid control character", "in string literal"),
    ("Invalid \\", "in string escape code"),
)


def _syntax(error: json.JSONDecodeError) -> str:
    """Python's complaint in Go's words."""
    at = error.doc[error.pos : error.pos + 1]
    if not at or error.msg.startswith("Unterminated"):
        return "unexpected EOF"
    where = next(
        (go for python, go in _EXPECTED if error.msg.startswith(python)), "looking for beginning of value"
    )
    shown = {"'": r"'\''", '"': "'\"'"}.get(at) or repr(at)
    return f"invalid character {shown} {where}"


@functools.cache
def _reader(kind: Any) -> Reader:
    return _reader_of(inspect.type_info(kind), "")[0]


def _reader_of(kind: inspect.Type, field: str) -> tuple[Reader, str, Any]:
    """The reader of a type, the type's name in Go, and its zero value."""
    match kind:
        case inspect.UnionType(types=types):
            (inner,) = (each for each in types if not isinstance(each, inspect.NoneType))
            read, go, _ = _reader_of(inner, field)
            return read, go, None
        case inspect.StructType(cls=cls, fields=fields):
            go = _go_name(cls)
            return _struct_reader(cls, fields, go), go, cls()
        case inspect.ListType(item_type=item):
            read, go, zero = _reader_of(item, "")
            name = GO_FIELDS.get(field, f"[]{go}")
            return _list_reader(read, zero, name, one_text=field in STRSLICES), name, []
        case inspect.DictType(value_type=item):
            read, go, zero = _reader_of(item, "")
            name = GO_FIELDS.get(field, f"map[string]{go}")
            return _map_reader(read, zero, name), name, {}
        case inspect.IntType():
            name = GO_FIELDS.get(field, "int64")
            return _int_reader(name), name, 0
        case inspect.FloatType():
            return _float_reader, "float32", 0.0
        case inspect.BytesType():
            return _bytes_reader, "[]uint8", b""
        case inspect.BoolType():
            return _exactly(bool, "bool"), "bool", False
        case inspect.StrType():
            return _text_reader, "string", ""
        case inspect.AnyType():
            return _plain, "interface {}", None
    raise TypeError(f"no reader for {kind}")


def _go_name(cls: type) -> str:
    if cls.__module__.endswith((".swarm", ".service")):
        mine = GO_STRUCTS.get(cls.__name__, "") if cls.__name__.startswith("Swarm") else ""
        return mine or f"swarm.{cls.__name__}"
    return GO_STRUCTS.get(cls.__name__, f"types.{cls.__name__}")


def _struct_reader(cls: type, fields: tuple[inspect.Field, ...], go: str) -> Reader:
    readers = {each.encode_name: (each.name, *_reader_of(each.type, each.encode_name)) for each in fields}
    folded = {name.casefold(): name for name in reversed(readers)}
    zeros = {each.name: readers[each.encode_name][3] for each in fields if each.required}
    short = go.partition(".")[2]

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch(_kind(value), go)
        given = dict(zeros)
        for key, item in value.items():
            name = key if key in readers else folded.get(key.casefold())
            if name is None:
                continue
            attribute, read_field, _, zero = readers[name]
            if item is None:
                given.pop(attribute, None)
                if attribute in zeros:
                    given[attribute] = zero
                continue
            try:
                given[attribute] = read_field(item)
            except _Mismatch as mismatch:
                mismatch.struct = mismatch.struct or short
                mismatch.path.insert(0, name)
                raise
        return cls(**given)

    return read


def _list_reader(read: Reader, zero: Any, go: str, *, one_text: bool) -> Reader:
    def read_list(value: Any) -> Any:
        if one_text and type(value) is str:
            return [_text_reader(value)]
        if type(value) is not list:
            raise _Mismatch(_kind(value), go)
        return [zero if item is None else read(item) for item in value]

    return read_list


def _map_reader(read: Reader, zero: Any, go: str) -> Reader:
    def read_map(value: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch(_kind(value), go)
        return {_text_reader(key): zero if item is None else read(item) for key, item in value.items()}

    return read_map


def _int_reader(go: str) -> Reader:
    numbers = UNSIGNED.get(go, INT64)

    def read_int(value: Any) -> Any:
        if type(value) is int and value in numbers:
            return value
        literal = f" {value}" if type(value) in (int, _Number) else ""
        raise _Mismatch(_kind(value) + literal, go)

    return read_int


def _float_reader(value: Any) -> Any:
    if type(value) in (int, _Number):
        return float(value)
    raise _Mismatch(_kind(value), "float32")


def _bytes_reader(value: Any) -> Any:
    """Bytes come as base64."""
    if type(value) is not str:
        raise _Mismatch(_kind(value), "[]uint8")
    try:
        return binascii.a2b_base64(value.replace("\r", "").replace("\n", ""), strict_mode=True)
    except ValueError:
        raise InvalidParameter(f"illegal base64 data at input byte {_first_wrong(value)}") from None


def _first_wrong(text: str) -> int:
    """Where base64 ends being any; in a text of the wrong length behind its last whole group."""
    match = _BASE64.match(text)
    return match.end() if match else 0


def _exactly(kind: type, go: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise _Mismatch(_kind(value), go)
        return value

    return read


def _text_reader(value: Any) -> Any:
    if type(value) is not str:
        raise _Mismatch(_kind(value), "string")
    # Half of a surrogate pair cannot be written as UTF-8 again: Go reads it as the replacement sign.
    return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)


def _plain(value: Any) -> Any:
    """A value of no certain type, with its numbers as Python has them."""
    match value:
        case _Number():
            return float(value)
        case dict():
            return {_text_reader(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case str():
            return _text_reader(value)
    return value


_KINDS: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "bool",
    int: "number",
    _Number: "number",
}


def _kind(value: Any) -> str:
    return _KINDS[type(value)]


def encode(value: Any) -> bytes:
    """A value as JSON with the newline that Go's encoder ends with."""
    return msgspec.json.encode(value) + b"\n"
