"""By what names an engine is known on its host."""

from lighterman.networks import NetworkConfig


def test_engines_that_share_docker0_have_tables_of_their_own() -> None:
    usual, twin = NetworkConfig(), NetworkConfig(twin="0a1b2c")
    assert (usual.known_as, usual.table) == ("docker0", "lighterman")
    assert (twin.known_as, twin.table) == ("0a1b2c", "lighterman_0a1b2c")


def test_an_engine_with_a_bridge_of_its_own_is_known_by_that() -> None:
    alone = NetworkConfig(bridge_name="other0", twin="0a1b2c")
    assert (alone.known_as, alone.table) == ("other0", "lighterman_other0")
