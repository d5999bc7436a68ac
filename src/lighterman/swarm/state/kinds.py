"""Kinds of objects, and the words for changing one."""

from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """The table that an object is in; the value is the part of its key in the store."""

    CLUSTER = "cluster"
    AUTHORITY = "ca"
    NODE = "node"
    NODE_STATUS = "nodest"
    NODE_STATE = "nodelive"
    NODE_ADDRESSES = "nodeaddr"
    SESSION = "sess"
    SERVICE = "svc"
    SERVICE_STATUS = "svcst"
    TEMPLATE = "tmpl"
    TASK = "task"
    TASK_STATUS = "st"
    NETWORK = "net"
    NETWORK_STATUS = "netst"
    SECRET = "secret"
    CONFIG = "config"


class Stored(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The root of all stored objects. Fields are added with defaults: managers differ in age."""

    id: str
    created_ns: int = 0
    updated_ns: int = 0


class Put(Struct, frozen=True):
    """Make the object be `value`."""

    kind: Kind
    value: Stored
    expect: int | None = None
    """The revision that it must have; 0: it must not exist; None: whatever is there."""

    @property
    def id(self) -> str:
        return self.value.id


class Delete(Struct, frozen=True):
    """Make the object be gone."""

    kind: Kind
    id: str
    expect: int | None = None
    """The revision that it must have; None: whatever is there, nothing too."""


Write = Put | Delete


class Change(Struct, frozen=True):
    """What has become of an object: its value at this revision, or None when it is gone."""

    kind: Kind
    id: str
    value: Stored | None
    revision: int
