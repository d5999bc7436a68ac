"""Four ways to wish for a mount, one list of values."""

import re

import pytest
from tests.containers.values import namer

from lighterman.apitypes.container import (
    BindOptions,
    ContainerConfig,
    DriverConfig,
    HostConfig,
    Mount,
    PortBinding,
    TmpfsOptions,
    VolumeOptions,
)
from lighterman.containers.mounts import (
    BindMount,
    Mounted,
    TmpfsMount,
    VolumeMount,
    inherit,
    is_mode,
    parse_bind,
    parse_mount,
    parse_tmpfs,
    parse_volumes_from,
)
from lighterman.containers.ports import port_wishes
from lighterman.errdefs import InvalidParameter
from lighterman.networks import PortWish


@pytest.mark.parametrize(
    ("raw", "mount"),
    [
        ("/a:/b", BindMount(source="/a", target="/b", create_source=True)),
        ("/a/../c/:/b/", BindMount(source="/c", target="/b", create_source=True)),
        ("/a:/b:ro", BindMount(source="/a", target="/b", read_only=True, mode="ro", create_source=True)),
        (
            "/a:/b:rw,rshared,z",
            BindMount(
                source="/a", target="/b", mode="rw,rshared,z", propagation="rshared", create_source=True
            ),
        ),
        ("v:/b", VolumeMount(name="v", target="/b", mode="z")),
        ("v:/b:ro", VolumeMount(name="v", target="/b", read_only=True, mode="ro")),
        ("v:/b:nocopy", VolumeMount(name="v", target="/b", mode="nocopy", copy_up=False)),
        ("/b", VolumeMount(name="anonymous1", target="/b", mode="z", anonymous=True)),
    ],
)
def test_a_bind_is_read_as_docker_does(raw: str, mount: Mounted) -> None:
    assert parse_bind(raw, "", namer()) == mount


def test_a_bind_names_a_volume_of_the_wished_driver() -> None:
    assert parse_bind("v:/b", "nfs", namer()) == VolumeMount(name="v", target="/b", driver="nfs")


@pytest.mark.parametrize("raw", [":/b", "", "/a:ro", "a:b:c:d", "/foo:rw"])
def test_a_bind_that_means_nothing_is_refused(raw: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(f"invalid volume specification: '{raw}'")):
        parse_bind(raw, "", namer())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("/a:/b:nocopy", 'type "bind": field VolumeOptions must not be specified'),
        ("v:/b:shared", 'type "volume": field BindOptions must not be specified'),
        ("v:/proc/sys", 'type "volume": "/proc/sys" cannot be mounted because it is inside /proc'),
    ],
)
def test_a_mode_or_a_place_that_does_not_fit_is_refused(raw: str, text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(f"'{raw}': invalid mount config for {text}")):
        parse_bind(raw, "", namer())


@pytest.mark.parametrize("raw", ["/proc:/proc", "/lxcfs/meminfo:/proc/meminfo"])
def test_what_shows_a_container_its_own_share_goes_over_proc(raw: str) -> None:
    assert parse_bind(raw, "", namer()).target.startswith("/proc")


@pytest.mark.parametrize("mode", ["", "ro", "rw,z", "ro,Z,rslave", "nocopy", "cached", "delegated,ro"])
def test_modes_of_different_kinds_go_together(mode: str) -> None:
    assert is_mode(mode)


@pytest.mark.parametrize("mode", ["ro,rw", "z,Z", "foo", "ro,", "shared,slave", "ro,ro"])
def test_modes_of_one_kind_do_not(mode: str) -> None:
    assert not is_mode(mode)


@pytest.mark.parametrize(
    ("wish", "mount"),
    [
        (Mount("bind", "/a", "/b"), BindMount(source="/a", target="/b")),
        (
            Mount("bind", "/a", "/b", True, bind_options=BindOptions("rshared", True, True)),
            BindMount(
                source="/a",
                target="/b",
                read_only=True,
                propagation="rshared",
                recursive=False,
                create_source=True,
            ),
        ),
        (Mount("volume", "v", "/b"), VolumeMount(name="v", target="/b", mode="z")),
        (Mount("volume", "", "/b"), VolumeMount(name="anonymous1", target="/b", mode="z", anonymous=True)),
        (
            Mount(
                "volume",
                "v",
                "/b",
                volume_options=VolumeOptions(True, {"l": "1"}, DriverConfig("nfs", {"o": "1"})),
            ),
            VolumeMount(
                name="v", target="/b", driver="nfs", copy_up=False, labels={"l": "1"}, options={"o": "1"}
            ),
        ),
        (
            Mount("tmpfs", "", "/b", tmpfs_options=TmpfsOptions(1024, 0o1777)),
            TmpfsMount(target="/b", options=("mode=1777", "size=1024")),
        ),
    ],
)
def test_a_mount_is_read_by_its_type(wish: Mount, mount: Mounted) -> None:
    assert parse_mount(wish, namer()) == mount


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        (Mount("bind", "", "/b"), 'type "bind": field Source must not be empty'),
        (Mount("bind", "a", "/b"), "invalid mount path: 'a' mount path must be absolute"),
        (Mount("bind", "/a", "b"), "invalid mount path: 'b' mount path must be absolute"),
        (Mount("bind", "/a", "/"), "invalid specification: destination can't be '/'"),
        (Mount("bind", "/a", "/b", bind_options=BindOptions("x")), "invalid propagation mode: x"),
        (Mount("tmpfs", "/a", "/b"), 'type "tmpfs": field Source must not be specified'),
        (
            Mount("tmpfs", "", "/b", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (Mount("npipe", "", "/b"), 'type "npipe": mount type unknown'),
        (Mount("volume", "", "/b", read_only=True), "must not set ReadOnly mode when using anonymous"),
        (Mount("bind", "/a", "/proc/sys"), '"/proc/sys" cannot be mounted because it is inside /proc'),
        (Mount("bind", "/a", "//proc/../proc"), '"/proc" cannot be mounted because it is not of type proc'),
        (Mount("tmpfs", "", "/proc"), '"/proc" cannot be mounted because it is not of type proc'),
    ],
)
def test_a_wrong_mount_is_refused_in_dockers_words(wish: Mount, text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        parse_mount(wish, namer())


def test_what_is_inherited_is_neither_made_nor_filled_again() -> None:
    other: tuple[Mounted, ...] = (
        VolumeMount(name="v", target="/v", mode="z", anonymous=True),
        BindMount(source="/a", target="/b", create_source=True),
        TmpfsMount(target="/t"),
    )
    assert list(inherit(other, "ro")) == [
        VolumeMount(name="v", target="/v", read_only=True, copy_up=False, anonymous=True),
        BindMount(source="/a", target="/b", read_only=True),
        TmpfsMount(target="/t", read_only=True),
    ]


def test_volumes_from_has_a_mode() -> None:
    assert parse_volumes_from("a") == ("a", "rw")
    assert parse_volumes_from("a:ro") == ("a", "ro")
    for text in ("a:rshared", "a:nocopy", "a:xx"):
        with pytest.raises(InvalidParameter, match="invalid mode"):
            parse_volumes_from(text)


def test_options_of_a_tmpfs_are_those_of_the_kernel() -> None:
    for options in ("rw,size=1m", "size=50%,mode=1777,uid=0,gid=100", "nr_inodes=4k,mpol=bind:0,noexec"):
        assert parse_tmpfs({"/t": options}) == (TmpfsMount(target="/t", options=tuple(options.split(","))),)
    with pytest.raises(InvalidParameter, match=re.escape('invalid tmpfs option ["foo"]')):
        parse_tmpfs({"/t": "foo"})


def test_ports_are_published_as_they_are_bound_those_without_a_choice_first() -> None:
    bindings: dict[str, list[PortBinding] | None] = {
        "80/tcp": [PortBinding("", ""), PortBinding("", "8000-8010"), PortBinding("127.0.0.1", "8080")],
        "53/udp": [PortBinding("", "8000")],
        "81": None,
    }
    assert port_wishes(ContainerConfig(), HostConfig(port_bindings=bindings)) == (
        PortWish(80, "tcp", "127.0.0.1", 8080, 8080),
        PortWish(53, "udp", "", 8000, 8000),
        PortWish(80, "tcp", "", 8000, 8010),
        PortWish(80, "tcp"),
    )


def test_all_exposed_ports_are_published_but_those_that_are_bound() -> None:
    config = ContainerConfig(exposed_ports={"80/tcp": {}, "81/udp": {}})
    wish = HostConfig(publish_all_ports=True, port_bindings={"80/tcp": [PortBinding("", "8080")]})
    assert port_wishes(config, wish) == (PortWish(80, "tcp", "", 8080, 8080), PortWish(81, "udp"))
