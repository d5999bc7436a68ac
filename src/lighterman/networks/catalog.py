"""The networks that there are, by id and by name, and the addresses of each."""

from collections.abc import Iterable

from lighterman.networks.errors import AmbiguousNetwork, NoSuchNetwork
from lighterman.networks.ipam import AddressSpace
from lighterman.networks.plan import address_space
from lighterman.networks.row import NetworkRow


class Catalog:
    """In memory; who changes it writes the row first."""

    def __init__(self, rows: Iterable[NetworkRow]) -> None:
        self.rows = {row.id: row for row in rows}
        self.spaces: dict[str, AddressSpace] = {
            row.id: address_space(row) for row in self.rows.values() if row.driver == "bridge"
        }

    def find(self, ref: str) -> NetworkRow:
        """By full id, then name, then a prefix of the id that is the only one.

        Raises: NoSuchNetwork, AmbiguousNetwork.
        """
        row = self.rows.get(ref) or next((row for row in self.rows.values() if row.name == ref), None)
        if row is not None:
            return row
        matches = [row for row in self.rows.values() if ref and row.id.startswith(ref)]
        if len(matches) > 1:
            raise AmbiguousNetwork(ref, len(matches))
        if not matches:
            raise NoSuchNetwork(ref)
        return matches[0]

    @property
    def bridges(self) -> list[NetworkRow]:
        """Those that have a link."""
        return [row for row in self.rows.values() if row.driver == "bridge"]
