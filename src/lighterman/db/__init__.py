"""Rows: what must survive the engine, in one SQLite file.

Three words. A *table* is a kind of thing; a *row* is a key and a msgspec document; a *change* (`Put`,
`Delete`) is a value that does nothing until it is written. `Database.write` writes any number of changes as
one transaction on the one writer thread and returns when they are safe. Reads happen at start only: memory is
the read model, each room keeps its own. Rows of an older engine are brought up to date (`migrations.py`).
`Rows` gives a table its type, and `Reading` lets another process look.
"""

from lighterman.db.database import Change, Database, Delete, Put
from lighterman.db.errors import BadRow
from lighterman.db.migrations import Migration
from lighterman.db.reading import Reading
from lighterman.db.rows import Rows

__all__ = ["BadRow", "Change", "Database", "Delete", "Migration", "Put", "Reading", "Rows"]
