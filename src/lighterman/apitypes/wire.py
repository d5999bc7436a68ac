"""The root of all wire Structs."""

import msgspec


class Wire(msgspec.Struct, rename="pascal", frozen=True):
    """A definition of the API: fields are named as the spec does, in Python's spelling.

    A name that `pascal` does not give (OOMKilled, ID) is spelled with `msgspec.field(name=...)`.
    """
