"""What is kept of a managed plugin, and how it looks on the wire."""

from msgspec import UNSET, Struct

from lighterman.apitypes.plugin import Plugin, PluginConfig, PluginSettings
from lighterman.db import Rows


class PluginRow(Struct, frozen=True, kw_only=True):
    """One plugin."""

    id: str
    name: str  # as users type it, with the tag
    reference: str  # where it came from; "" if it was made here and by another name
    snapshot: str  # the key of its root file system; an upgrade brings another one
    enabled: bool = False
    timeout_s: int = 0  # for each call of it, as it was enabled; 0: none of its own
    config: PluginConfig
    settings: PluginSettings
    document: bytes  # config.json as it came, to the byte: its digest is in the manifest
    manifest: bytes  # likewise
    chain: tuple[str, ...]  # the chain ids of its layers, lowest first


ROWS: Rows[PluginRow] = Rows("plugins", PluginRow)


def on_the_wire(row: PluginRow) -> Plugin:
    """The plugin as list and inspect tell it."""
    return Plugin(
        config=row.config,
        enabled=row.enabled,
        id=row.id,
        name=row.name,
        plugin_reference=row.reference or UNSET,
        settings=row.settings,
    )
