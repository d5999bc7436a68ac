"""The networks that there are, by id and by name, and the addresses of each."""

from collections.abc import Iterable

from lighterman.networks.errors import AmbiguousNetwork, NoSuchNetwork
from lighterman.networks.ipam import Addresses, GivenAddresses
from lighterman.networks.row import NetworkRow


class Catalog:
    """In memory; who changes it writes the row first."""

    def __init__(self, rows: Iterable[NetworkRow]) -> None:
        self.rows = {row.id: row for row in rows}
        self.addresses = {row.id: _addresses(row) for row in self.rows.values() if row.has_addresses}

    def add(self, row: NetworkRow) -> None:
        """A network that is new."""
        self.rows[row.id] = row
        if row.has_addresses:
            self.addresses[row.id] = _addresses(row)

    def remove(self, network_id: str) -> None:
        """A network that is gone."""
        del self.rows[network_id]
        self.addresses.pop(network_id, None)

    def get(self, ref: str) -> NetworkRow | None:
        """As `find`, None where it raises."""
        try:
            return self.find(ref)
        except (NoSuchNetwork, AmbiguousNetwork):
            return None

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
        """Those that have a bridge of their own."""
        return [row for row in self.rows.values() if row.driver == "bridge" and not row.config_only]

    @property
    def overlays(self) -> list[NetworkRow]:
        """Those of the swarm that this node knows."""
        return [row for row in self.rows.values() if row.driver == "overlay"]


def _addresses(row: NetworkRow) -> Addresses:
    given = row.driver == "overlay" or row.asks_plugins
    return GivenAddresses(row.pools) if given else Addresses(row.pools)
