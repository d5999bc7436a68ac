"""Fields that mount: binds, volumes, memory, other containers' mounts; looked at from inside."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.inside import inside, made, refused, seen

MIB = 1 << 20


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A mount of the host that passes on what is mounted below it, with another, `early`, in it."""
    top = tmp_path / "shared"
    top.mkdir()
    for line in (f"mount -t tmpfs shared {top}", f"mount --make-shared {top}"):
        subprocess.run(line.split(), check=True)
    mounted_on(top / "early")
    (top / "early" / "file").write_text("here\n")
    yield top
    subprocess.run(["umount", "-lR", top], check=True)


def mounted_on(place: Path) -> None:
    """A file system in memory at a new place."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", place.name, place], check=True)


def test_binds_are_where_and_as_they_were_wished(http: Http, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    host = {
        "Binds": [
            f"{tmp_path}:/rw",
            f"{tmp_path}:/ro:ro,z",
            f"{tmp_path}/file:/one/file:consistent",
            f"{tmp_path}/not/there:/made",
            "named:/named",
            "named:/named-ro:ro",
        ]
    }
    assert seen(
        http,
        {
            "rw": "cat /rw/file; echo inside >/rw/new",
            "ro": "cat /ro/file; echo x >/ro/file",
            "file": "cat /one/file",
            "made": "stat -c '%a %u' /made",
            "named": "echo kept >/named/x; cat /named-ro/x; echo x >/named-ro/x",
        },
        host,
    ) == {
        "rw": "of the host",
        "ro": "of the host\nsh: can't create /ro/file: Read-only file system",
        "file": "of the host",
        "made": "755 0",
        "named": "kept\nsh: can't create /named-ro/x: Read-only file system",
    }
    assert (tmp_path / "new").read_text() == "inside\n"
    assert (tmp_path / "not/there").is_dir()


def test_mounts_are_where_and_as_they_were_wished(http: Http, tmp_path: Path) -> None:
    options = {"Type": "tmpfs", "Device": "tmpfs", "o": "size=2m"}
    driver = {"Name": "local", "Options": {name.lower(): value for name, value in options.items()}}
    mounts = [
        {"Type": "bind", "Source": str(tmp_path), "Target": "/rw", "Consistency": "cached"},
        {"Type": "bind", "Source": str(tmp_path), "Target": "/ro", "ReadOnly": True},
        {"Type": "volume", "Source": "vol", "Target": "/v", "VolumeOptions": {"Labels": {"a": "b"}}},
        {"Type": "volume", "Source": "small", "Target": "/small", "VolumeOptions": {"DriverConfig": driver}},
        {"Type": "volume", "Target": "/anonymous"},
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": MIB, "Mode": 0o1750}},
    ]
    told = seen(
        http,
        {
            "rw": "echo fine >/rw/x; cat /ro/x; echo x >/ro/x",
            "v": "echo fine >/v/x; cat /v/x",
            "small": "df -k /small | tail -1",
            "anonymous": "touch /anonymous/x && echo fine",
            "t": "stat -c %a /t; df -k /t | tail -1; grep ' /t ' /proc/mounts",
        },
        {"Mounts": mounts},
    )
    assert told["rw"] == "fine\nsh: can't create /ro/x: Read-only file system"
    assert (told["v"], told["anonymous"]) == ("fine", "fine")
    assert told["small"].split()[:2] == ["tmpfs", "2048"]
    mode, size, line = told["t"].splitlines()
    assert (mode, size.split()[1]) == ("1750", "1024")
    assert line.startswith("tmpfs /t tmpfs rw,nosuid,nodev,noexec,")
    assert http.ok("GET", "/volumes/vol")["Labels"] == {"a": "b"}
    assert http.ok("GET", "/volumes/small")["Options"] == driver["Options"]


def test_a_new_volume_begins_with_the_images_files_unless_told_not_to(http: Http) -> None:
    """The mode of /tmp, 1777, and the files of /etc are the image's."""
    look = {"tmp": "stat -c %a /tmp", "etc": "cat /etc/passwd | head -1"}
    of_image = {"tmp": "1777", "etc": "root:x:0:0:root:/root:/bin/sh"}
    assert seen(http, look, {"Binds": ["etc:/etc"]}, Volumes={"/tmp": {}}) == of_image
    plain = {"Type": "volume", "Source": "tmp", "Target": "/tmp", "VolumeOptions": {"NoCopy": True}}
    told = seen(http, look, {"Binds": ["bare:/etc:nocopy"], "Mounts": [plain]})
    assert told == {"tmp": "755", "etc": "cat: can't open '/etc/passwd': No such file or directory"}
    again = seen(http, look, {"Binds": ["etc:/etc"]}, Volumes={"/tmp": {}})
    assert again == of_image


def test_volumes_from_another_container_are_its_mounts(http: Http, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    tmpfs = {"Type": "tmpfs", "Target": "/t"}
    made(
        http,
        "true",
        {"Binds": [f"{tmp_path}:/bound", "named:/named"], "Mounts": [tmpfs]},
        name="donor",
        Volumes={"/anonymous": {}},
    )
    look = {
        "bound": "cat /bound/file; echo x >/bound/x",
        "volumes": "cat /named/x /anonymous/x 2>/dev/null; echo one >/named/x; echo two >/anonymous/x",
        "tmpfs": "grep -c ' /t tmpfs ' /proc/mounts",
    }
    assert seen(http, look, {"VolumesFrom": ["donor"]}) == {
        "bound": "of the host",
        "volumes": "",
        "tmpfs": "1",
    }
    told = seen(http, look, {"VolumesFrom": ["donor:ro"]})
    assert "can't create /bound/x: Read-only file system" in told["bound"]
    assert told["volumes"].startswith("one\ntwo\n")
    assert told["volumes"].count("Read-only file system") == 2
    assert refused(http, {"VolumesFrom": ["nobody"]}) == (400, "No such container: nobody")
    assert refused(http, {"VolumesFrom": ["donor:nocopy"]}) == (400, "invalid mode: nocopy")


def test_what_is_mounted_later_comes_through_as_the_propagation_says(
    docker: DockerCLI, http: Http, shared: Path
) -> None:
    kinds = ("rprivate", "rslave", "rshared", "private")
    binds = [f"{shared}:/{kind}:{kind}" for kind in kinds if kind != "private"]
    mounts = [
        {
            "Type": "bind",
            "Source": str(shared),
            "Target": "/private",
            "BindOptions": {"Propagation": "private"},
        }
    ]
    cid = made(http, "sleep 600", {"Binds": binds, "Mounts": mounts, "CapAdd": ["SYS_ADMIN"]})
    docker("start", cid)
    mounted_on(shared / "late")
    points = {line.split()[1] for line in docker.out("exec", cid, "cat", "/proc/mounts").splitlines()}
    assert {kind for kind in kinds if f"/{kind}/late" in points} == {"rslave", "rshared"}
    for kind in ("rslave", "rshared"):
        docker("exec", cid, "mkdir", f"/{kind}/{kind}-inner")
        docker("exec", "--privileged", cid, "mount", "-t", "tmpfs", "inner", f"/{kind}/{kind}-inner")
    assert not (shared / "rslave-inner").is_mount()
    assert (shared / "rshared-inner").is_mount()


@pytest.mark.beyond_dockerd
def test_a_bind_comes_with_what_is_mounted_below_unless_it_is_told_not_to(
    engine: Daemon, shared: Path
) -> None:
    newest = Http(engine.socket, prefix="/v1.44")

    def bind(target: str, *, read_only: bool, **options: Any) -> dict[str, Any]:
        wish = {"Type": "bind", "Source": str(shared), "Target": target, "ReadOnly": read_only}
        return {**wish, "BindOptions": options}

    host = {
        "Mounts": [
            bind("/whole", read_only=False),
            bind("/alone", read_only=False, NonRecursive=True),
            bind("/closed", read_only=True, Propagation="rprivate", ReadOnlyForceRecursive=True),
            bind("/half", read_only=True, ReadOnlyNonRecursive=True),
            {
                "Type": "bind",
                "Source": f"{shared}/not/there",
                "Target": "/made",
                "BindOptions": {"CreateMountpoint": True},
            },
        ]
    }
    look = {
        "whole": "cat /whole/early/file",
        "alone": "ls /alone/early",
        "closed": "cat /closed/early/file; touch /closed/early/x",
        "half": "touch /half/x; touch /half/early/y && echo written",
        "made": "ls -d /made",
    }
    assert seen(newest, look, host) == {
        "whole": "here",
        "alone": "",
        "closed": "here\ntouch: /closed/early/x: Read-only file system",
        "half": "touch: /half/x: Read-only file system\nwritten",
        "made": "/made",
    }


def test_named_binds_and_volumes_are_of_the_driver_that_was_wished(http: Http) -> None:
    assert inside(http, "touch /v/x && echo fine", {"Binds": ["vol:/v"], "VolumeDriver": "local"}) == "fine"
    other: dict[str, Any] = {"VolumeDriver": "nope"}
    for status, text in (
        refused(http, {**other, "Binds": ["other:/v"]}),
        refused(http, other, Volumes={"/v": {}}),
    ):
        assert (status, 'plugin "nope" not found' in text) == (404, True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "Binds, twice at a place": (
        {"Binds": ["/tmp:/x", "/var:/x"]},
        "Duplicate mount point: /x",
    ),
    "Binds, mode": ({"Binds": ["/tmp:/x:foo"]}, "invalid mode: foo"),
    "Mounts, type": (
        {"Mounts": [{"Type": "npipe", "Target": "/x"}]},
        'invalid mount config for type "npipe": mount type unknown',
    ),
    "Mounts, target": (
        {"Mounts": [{"Type": "tmpfs"}]},
        'invalid mount config for type "tmpfs": field Target must not be empty',
    ),
    "Mounts, source": (
        {"Mounts": [{"Type": "bind", "Source": "/nope", "Target": "/x"}]},
        'invalid mount config for type "bind": bind source path does not exist: /nope',
    ),
    "Mounts, propagation": (
        {
            "Mounts": [
                {"Type": "bind", "Source": "/tmp", "Target": "/x", "BindOptions": {"Propagation": "foo"}}
            ]
        },
        'invalid mount config for type "bind": invalid propagation mode: foo',
    ),
    "Tmpfs": ({"Tmpfs": {"/x": "foo=1"}}, 'invalid tmpfs option ["foo" "1"]'),
}


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize(("host", "text"), REFUSED.values(), ids=REFUSED)
def test_a_mount_that_cannot_be_is_refused(http: Http, host: dict[str, Any], text: str) -> None:
    assert refused(http, host) == (400, text)
