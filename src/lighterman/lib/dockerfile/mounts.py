"""`RUN --mount`: its options as a value.

Source: Dockerfile reference, RUN --mount; instructions/commands_runmount of dockerd 20.10.24, its texts too.
"""

import csv

from msgspec import Struct

from lighterman.errdefs import InvalidParameter
from lighterman.lib.go_quote import go_quote

_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_WITH_OWNER = ("cache", "secret", "ssh")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class RunMount(Struct, frozen=True):
    """What one step finds at a place; empty texts and None are what was not given."""

    kind: str = "bind"
    source_from: str = ""
    """A stage or an image; empty: the build's context."""
    source: str = ""
    target: str = ""
    read_only: bool = True
    id: str = ""
    sharing: str = ""
    """Of a cache: `shared`, `private` or `locked`."""
    required: bool = False
    """Of a secret or of ssh: the step fails without it."""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def run_mount(text: str) -> RunMount:
    """The mount of `type=cache,target=/x,...`. Raises: InvalidParameter in dockerd's words."""
    values: dict[str, str | bool | int] = {"kind": "bind"}
    for field in _fields(text):
        name, equals, value = field.partition("=")
        values |= _option(str(values["kind"]), name.lower(), value if equals else None, field)
    mount = _mount(values)
    _check(mount)
    return mount


def _fields(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidParameter(f"failed to parse csv mounts: {error}") from error
    if not rows or not rows[0]:
        raise InvalidParameter("failed to parse csv mounts: EOF")
    return rows[0]


_TEXTS = {
    "from": "source_from",
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "id": "id",
}
_SWITCHES = {"readonly": True, "ro": True, "readwrite": False, "rw": False}
"""What each one makes of `read_only`."""


def _option(kind: str, name: str, value: str | None, field: str) -> dict[str, str | bool | int]:
    if name in _SWITCHES:
        return {"read_only": _SWITCHES[name] == _flag(name, value)}
    if name == "required" and (value is None or kind in ("secret", "ssh")):
        if kind not in ("secret", "ssh"):
            raise InvalidParameter(f"unexpected key '{name}' for mount type '{kind}'")
        return {"required": _flag(name, value)}
    if value is None:
        raise InvalidParameter(f"invalid field '{field}' must be a key=value pair")
    if name in _TEXTS:
        return {_TEXTS[name]: value}
    match name:
        case "type":
            return {"kind": _one_of(_KINDS, value, "mount type")}
        case "sharing":
            return {"sharing": _one_of(_SHARING, value, "sharing value")}
        case "mode":
            return {"mode": _number(name, value, 8)}
        case "uid" | "gid":
            return {name: _number(name, value, 10)}
        case "required":
            raise InvalidParameter(f"unexpected key '{name}' for mount type '{kind}'")
    raise InvalidParameter(f"unexpected key '{name}' in '{field}'")


def _flag(name: str, value: str | None) -> bool:
    if value is None or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidParameter(f"invalid value for {name}: {value}")


def _one_of(values: tuple[str, ...], value: str, what: str) -> str:
    if value.lower() not in values:
        raise InvalidParameter(f"unsupported {what} {go_quote(value)}")
    return value.lower()


def _number(name: str, value: str, radix: int) -> int:
    digits = "01234567" if radix == 8 else "0123456789"
    if not value or set(value) - set(digits) or int(value, radix) >= 1 << 32:
        raise InvalidParameter(f"invalid value {value} for {name}")
    return int(value, radix)


def _mount(values: dict[str, str | bool | int]) -> RunMount:
    values.setdefault("read_only", values["kind"] not in ("cache", "tmpfs"))
    return RunMount(**values)  # type: ignore[arg-type]  # each was made for its field


def _check(mount: RunMount) -> None:
    for name in ("mode", "uid", "gid"):
        if getattr(mount, name) is not None and mount.kind not in _WITH_OWNER:
            raise InvalidParameter(f"{name} not allowed for {go_quote(mount.kind)} type mounts")
    if mount.sharing and mount.kind != "cache":
        raise InvalidParameter(f"invalid cache sharing set for {mount.kind} mount")
    if mount.kind == "secret":
        if mount.source_from:
            raise InvalidParameter("secret mount should not have a from")
        if not (mount.source or mount.target or mount.id):
            raise InvalidParameter("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise InvalidParameter("both source and id can't be set")
