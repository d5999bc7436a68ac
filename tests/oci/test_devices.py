import os
import stat
from pathlib import Path

import pytest

from lighterman.errdefs import InvalidParameter
from lighterman.oci.devices import device_rules, mapped_devices, parse_device_rule, privileged_devices
from lighterman.oci.spec import Device, DeviceRule

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mknod needs root")


def test_a_device_keeps_its_numbers_under_another_name() -> None:
    devices, rules = mapped_devices("/dev/null", "/dev/x", "r")
    assert devices == (Device(path="/dev/x", type="c", major=1, minor=3, file_mode=0o666, uid=0, gid=0),)
    assert rules == (DeviceRule(allow=True, type="c", major=1, minor=3, access="r"),)


def test_without_a_name_or_permissions_it_is_the_hosts_and_all() -> None:
    devices, rules = mapped_devices("/dev/null", "", "")
    assert (devices[0].path, rules[0].access) == ("/dev/null", "rwm")


@needs_root
def test_a_directory_gives_all_devices_below_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    os.mknod(tmp_path / "sub/full", stat.S_IFCHR | 0o600, os.makedev(1, 7))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    devices, rules = mapped_devices(str(tmp_path / "link"), "/dev/mine", "rw")
    assert [(device.path, device.minor) for device in devices] == [("/dev/mine/sub/full", 7)]
    assert [(rule.minor, rule.access) for rule in rules] == [(7, "rw")]


def test_a_link_gives_the_device_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    devices, _ = mapped_devices(str(tmp_path / "zero"), "/dev/z", "rwm")
    assert (devices[0].path, devices[0].minor) == ("/dev/z", 5)


GATHERING = "error gathering device information while adding custom device"


@pytest.mark.parametrize(
    ("path", "permissions", "text"),
    [
        ("/nope", "rwm", f'{GATHERING} "/nope": no such file or directory'),
        ("/etc/passwd", "rwm", f'{GATHERING} "/etc/passwd": not a device node'),
        ("/etc", "rwm", f'{GATHERING} "/etc": not a device node'),
        ("/dev/null", "zz", "invalid device mode: zz"),
    ],
)
def test_what_is_no_device_is_refused_in_dockers_words(path: str, permissions: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        mapped_devices(path, path, permissions)
    assert str(refused.value) == text


def test_privileged_gets_the_hosts_devices_but_not_its_terminals_and_console() -> None:
    paths = [device.path for device in privileged_devices()]
    assert {"/dev/null", "/dev/tty"} <= set(paths)
    assert paths == sorted(paths)
    assert not [path for path in paths if path.startswith("/dev/pts/") or path == "/dev/console"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 1:3 rwm", DeviceRule(allow=True, type="c", major=1, minor=3, access="rwm")),
        ("b *:* r", DeviceRule(allow=True, type="b", access="r")),
        ("a 7:* m", DeviceRule(allow=True, type="a", major=7, access="m")),
    ],
)
def test_a_cgroup_rule_is_read(text: str, rule: DeviceRule) -> None:
    assert device_rules([text]) == (rule,)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("foo", "invalid device cgroup rule format: 'foo'"),
        ("c 1:3", "invalid device cgroup rule format: 'c 1:3'"),
        ("c 1:3 rwmm", "invalid device cgroup rule format: 'c 1:3 rwmm'"),
        ("c 1:3 rwm\n", "invalid device cgroup rule format: 'c 1:3 rwm\n'"),
        (
            "c 99999999999999999999:1 r",
            "invalid major value in device cgroup rule format: 'c 99999999999999999999:1 r'",
        ),
    ],
)
def test_a_rule_in_another_form_is_refused_in_dockers_words(text: str, refusal: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_device_rule(text)
    assert str(refused.value) == refusal
