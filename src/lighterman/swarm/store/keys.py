"""How keys in etcd are called.

`/s/<kind>/<id>` is an object, `/n/<kind>/<name>` the id of the object that has a name to itself,
`/m/leader` the manager that leads and `/m/mgr/<node>` each manager that is there; the last two go with
their manager's lease.
"""

from lighterman.swarm.state import Kind

OBJECTS = b"/s/"
NAMES = b"/n/"
LEADER = b"/m/leader"
MANAGERS = b"/m/mgr/"
LEASED = frozenset({Kind.SESSION})
"""Kinds whose objects go with the lease of the manager that wrote them."""
_KINDS = {kind.value.encode(): kind for kind in Kind}


def object_key(kind: Kind, id: str) -> bytes:
    return b"%s%s/%s" % (OBJECTS, kind.value.encode(), id.encode())


def name_key(kind: Kind, name: str) -> bytes:
    """`name` as the keyring has disguised it."""
    return b"%s%s/%s" % (NAMES, kind.value.encode(), name.encode())


def parse_object_key(key: bytes) -> tuple[Kind, str] | None:
    """The kind and id; None for a key of another form, or of a kind that a newer manager knows."""
    kind, _, id = key.removeprefix(OBJECTS).partition(b"/")
    return (_KINDS[kind], id.decode()) if key.startswith(OBJECTS) and kind in _KINDS else None
