"""What can be wrong with rows."""

from lighterman.errdefs import System


class BadRow(System):
    """A row is not what its table holds; named, so that an operator can restore or remove just that one."""

    def __init__(self, table: str, key: str, reason: str) -> None:
        super().__init__(f"the row {key!r} of {table} in state.db cannot be read: {reason}")
        self.table, self.key = table, key
