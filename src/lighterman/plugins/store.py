"""The managed plugins: rows, and memory, which is the read model."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import structs

from lighterman.db import Database
from lighterman.errdefs import InvalidParameter
from lighterman.plugins.errors import AmbiguousPlugin, NoSuchPlugin, PluginExists
from lighterman.plugins.row import ROWS, PluginRow
from lighterman.reference import parse_reference

_FULL_ID = re.compile(r"[a-f0-9]{64}")


class Store:
    """All plugins that are installed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rows = ROWS.load(db)
        self._coming: set[str] = set()

    def __iter__(self) -> Iterator[PluginRow]:
        return iter(list(self._rows.values()))

    def __contains__(self, plugin_id: str) -> bool:
        return plugin_id in self._rows

    def get(self, plugin_id: str) -> PluginRow:
        """The plugin with this whole id, as it is now. Raises: NoSuchPlugin."""
        if plugin_id not in self._rows:
            raise NoSuchPlugin(plugin_id)
        return self._rows[plugin_id]

    def named(self, name: str) -> PluginRow | None:
        """The plugin of this name; a name without a tag means "latest"."""
        try:
            reference = parse_reference(name)
        except InvalidParameter:
            return None
        wanted = reference.with_default_tag().familiar()
        return next((row for row in self._rows.values() if row.name == wanted), None)

    def find(self, ref: str) -> PluginRow:
        """By whole id, name, or the first digits of an id. Raises: NoSuchPlugin, AmbiguousPlugin."""
        if _FULL_ID.fullmatch(ref):
            return self.get(ref)
        if (row := self.named(ref)) is not None:
            return row
        found = [row for row in self._rows.values() if ref and row.id.startswith(ref)]
        if len(found) > 1:
            raise AmbiguousPlugin(ref)
        if not found:
            raise NoSuchPlugin(ref)
        return found[0]

    @contextmanager
    def reserved(self, name: str) -> Iterator[None]:
        """Nobody else gets the name while the block lasts. Raises: PluginExists."""
        if name in self._coming or any(row.name == name for row in self._rows.values()):
            raise PluginExists(name)
        self._coming.add(name)
        try:
            yield
        finally:
            self._coming.discard(name)

    async def record(self, row: PluginRow, **changes: Any) -> PluginRow:
        """Write down what a plugin is from now on."""
        changed = structs.replace(row, **changes)
        await self._db.write(ROWS.put(changed.id, changed))
        self._rows[changed.id] = changed
        return changed

    async def forget(self, plugin_id: str) -> None:
        """Take a plugin out of the books. Idempotent."""
        await self._db.write(ROWS.delete(plugin_id))
        self._rows.pop(plugin_id, None)
