"""What a node says of itself."""

from collections.abc import Sequence

from lighterman.apitypes.swarm import PluginDescription
from lighterman.swarm.node.describe import plugins_of


async def installed(interface: str) -> Sequence[str]:
    return ["far"] if interface in ("VolumeDriver", "LogDriver") else []


async def test_a_node_has_the_drivers_of_its_plugins_beside_its_own() -> None:
    found = await plugins_of(installed)
    assert {"far", "local"} == {each.name for each in found if each.type == "Volume"}
    assert {PluginDescription("Log", "far"), PluginDescription("Log", "json-file")} <= set(found)
    assert PluginDescription("Network", "overlay") in found
    assert PluginDescription("Network", "far") not in found
