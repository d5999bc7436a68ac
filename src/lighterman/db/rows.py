"""A table with a type."""

from typing import Generic, TypeVar

import msgspec

from lighterman.db.database import Delete, Put
from lighterman.db.errors import BadRow
from lighterman.db.reading import Readable

T = TypeVar("T")


class Rows(Generic[T]):
    """The rows of one table as values of `T` (a Struct), encoded with msgpack."""

    def __init__(self, table: str, kind: type[T]) -> None:
        self._table = table
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()

    def load(self, db: Readable) -> dict[str, T]:
        """All rows by key. Raises BadRow when a row is not a `T`. Blocks: at start only."""
        return {key: self._decoded(key, doc) for key, doc in db.rows(self._table)}

    def _decoded(self, key: str, doc: bytes) -> T:
        try:
            return self._decoder.decode(doc)
        except msgspec.DecodeError as error:
            raise BadRow(self._table, key, str(error)) from error

    def put(self, key: str, value: T) -> Put:
        """The change that stores `value`; encoded now, so later changes of it do not matter."""
        return Put(self._table, key, self._encoder.encode(value))

    def delete(self, key: str, *, up_to: bool = False) -> Delete:
        """The change that removes the row, or with `up_to` all rows up to this key."""
        return Delete(self._table, key, up_to)
