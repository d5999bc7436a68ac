"""The nft table as an effect: what is in it is known here, and put back when somebody took it away.

All methods block and run in the `Kernel`'s thread; nothing here is touched from elsewhere.
"""

import contextlib
import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from lighterman.linux.nft import Nft, NftError
from lighterman.networks import ruleset
from lighterman.networks.ruleset import BridgeRules, Publication

log = logging.getLogger(__name__)


class Firewall:
    """One engine's table; without `ipv6` it lets all of that pass."""

    is_there = True

    def __init__(self, nft: Nft, table: str, *, ipv6: bool = True) -> None:
        self._nft = nft
        self._table = table
        self._ipv6 = ipv6
        self._bridges: dict[str, BridgeRules] = {}
        self._publications: dict[str, Publication] = {}

    def replace(self, bridges: Sequence[BridgeRules], publications: Mapping[str, Publication]) -> None:
        """Make the table exactly this, in one transaction. `publications` by sandbox id.

        Raises: NftError.
        """
        self._bridges = {bridge.name: self._seen(bridge) for bridge in bridges}
        self._publications = {id: self._led(publication) for id, publication in publications.items()}
        self._put_back()

    def add_bridge(self, bridge: BridgeRules) -> None:
        """Let a bridge in. Raises: NftError."""
        self._bridges[bridge.name] = bridge = self._seen(bridge)
        self._change(ruleset.add_bridge(self._table, bridge))

    def remove_bridge(self, name: str) -> None:
        """Forget a bridge; idempotent. Raises: NftError."""
        bridge = self._bridges.pop(name, None)
        if bridge is not None:
            self._change(ruleset.remove_bridge(self._table, bridge))

    def publish(self, sandbox_id: str, publication: Publication) -> None:
        """Send the ports of one container on to it, in place of what was published of it, in one
        transaction. Raises: NftError."""
        former, publication = self._publications.pop(sandbox_id, None), self._led(publication)
        if former == publication:
            self._publications[sandbox_id] = publication
            return
        if publication.ports:
            self._publications[sandbox_id] = publication
        withdrawn = ruleset.withdraw(self._table, former) if former else ""
        self._change(withdrawn + ruleset.publish(self._table, publication))

    def withdraw(self, sandbox_id: str) -> None:
        """Take the ports of one container away; idempotent. Raises: NftError."""
        publication = self._publications.pop(sandbox_id, None)
        if publication is not None:
            self._change(ruleset.withdraw(self._table, publication))

    def heal(self) -> None:
        """Put the table back as it should be, after somebody else touched it. Says so; so too if it fails."""
        try:
            self._put_back()
            log.warning("op=heal nft table %s was changed by others, it is as it was", self._table)
        except NftError as error:
            log.error("op=heal nft table %s was changed by others and stays so: %s", self._table, error)

    def warn_of_others(self) -> None:
        """Tell the operator of chains that are not ours and drop what they do not know: no verdict of our
        table can overrule theirs."""
        for chain in (entry["chain"] for entry in self._nft.run("list chains") if "chain" in entry):
            drops = chain.get("hook") == "forward" and chain.get("policy") == "drop"
            if drops and chain["table"] != self._table:
                log.warning(
                    "op=look-around chain %s of table %s %s drops what it does not accept: containers reach "
                    "out, and are reached, only if it accepts the traffic of our bridges",
                    chain["name"],
                    chain["family"],
                    chain["table"],
                )

    def _seen(self, bridge: BridgeRules) -> BridgeRules:
        return bridge if self._ipv6 else bridge.without_ipv6()

    def _led(self, publication: Publication) -> Publication:
        return publication if self._ipv6 else replace(publication, ipv6="")

    def _change(self, text: str) -> None:
        if not text:
            return
        try:
            self._nft.run(text)
        except NftError as error:  # our elements never clash: the table itself is not as we left it
            log.warning("nft table %s was changed by others, it is replaced: %s", self._table, error)
            self._put_back()

    def _put_back(self) -> None:
        bridges, publications = self._bridges.values(), self._publications.values()
        self._nft.run(ruleset.whole_table(self._table, bridges, publications, ipv6=self._ipv6))


class NoFirewall(Firewall):
    """The same verbs for an operator who keeps the firewall himself: nft hears of none of them, but that a
    table which this engine had before goes."""

    is_there = False

    def warn_of_others(self) -> None:
        """What others drop is not looked at."""

    def _change(self, text: str) -> None:
        pass

    def _put_back(self) -> None:
        with contextlib.suppress(NftError):  # there is none, or no nftables at all
            self._nft.run(f"delete table inet {self._table}")
