import pytest

from lighterman.errdefs import InvalidParameter
from lighterman.linux.capabilities import NAMES, names_of
from lighterman.oci.capabilities import effective, process_capabilities, unavailable
from lighterman.oci.defaults import DEFAULT_CAPABILITIES

EVERY = frozenset(NAMES)
WITHOUT_RESOURCE = EVERY - {"CAP_SYS_RESOURCE"}


def caps(*, add: list[str] | None = None, drop: list[str] | None = None) -> tuple[str, ...]:
    return effective(add, drop, False, WITHOUT_RESOURCE)


def test_the_default_is_dockerds_mask() -> None:
    assert caps() == DEFAULT_CAPABILITIES
    assert set(caps()) == names_of(0xA80425FB)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["net_admin"], None, (*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN")),
        (["CAP_Net_Admin", "NET_ADMIN"], None, (*DEFAULT_CAPABILITIES, "CAP_NET_ADMIN")),
        (["chown"], None, DEFAULT_CAPABILITIES),
        (None, ["chown"], DEFAULT_CAPABILITIES[1:]),
        (["kill"], ["kill"], (*(name for name in DEFAULT_CAPABILITIES if name != "CAP_KILL"), "CAP_KILL")),
        (None, ["all"], ()),
        (["kill"], ["ALL"], ("CAP_KILL",)),
        (["all"], ["ALL"], tuple(name for name in NAMES if name in WITHOUT_RESOURCE)),
        (["ALL"], ["SYS_ADMIN"], tuple(n for n in NAMES if n in WITHOUT_RESOURCE and n != "CAP_SYS_ADMIN")),
    ],
)
def test_adds_and_drops_combine_as_in_docker(
    add: list[str] | None, drop: list[str] | None, expected: tuple[str, ...]
) -> None:
    assert caps(add=add, drop=drop) == expected


def test_privileged_is_all_that_the_host_has_whatever_is_dropped() -> None:
    assert set(effective(None, ["ALL"], True, WITHOUT_RESOURCE)) == WITHOUT_RESOURCE


def test_what_the_host_lacks_is_cut_and_can_be_told() -> None:
    assert caps(add=["SYS_RESOURCE"]) == DEFAULT_CAPABILITIES
    assert unavailable(["ALL", "SYS_RESOURCE", "KILL"], WITHOUT_RESOURCE) == ("CAP_SYS_RESOURCE",)
    assert effective(None, None, False, {"CAP_KILL"}) == ("CAP_KILL",)


@pytest.mark.parametrize(
    ("add", "drop", "text"),
    [
        (["foo"], [], 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ([], ["cap_bar"], 'invalid CapDrop: unknown capability: "CAP_BAR"'),
        (["ALL", ""], [], 'invalid CapAdd: unknown capability: "CAP_"'),
    ],
)
def test_unknown_names_are_refused_in_dockers_words(add: list[str], drop: list[str], text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        effective(add, drop, True, EVERY)
    assert str(refused.value) == text


def test_only_root_begins_with_its_bounding_set_and_nobody_inherits() -> None:
    root, user = process_capabilities(("CAP_KILL",), 0), process_capabilities(("CAP_KILL",), 1000)
    assert root.effective == root.permitted == root.bounding == ("CAP_KILL",)
    assert (user.bounding, user.effective, user.permitted) == (("CAP_KILL",), (), ())
    assert root.inheritable == root.ambient == user.inheritable == user.ambient == ()
