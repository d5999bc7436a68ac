import os
import stat
from pathlib import Path

import pytest

from lighterman.linux.devices import HostDevice, NotADevice, device_at, devices_below


def test_a_device_has_numbers_kind_and_mode() -> None:
    assert device_at("/dev/null") == HostDevice("/dev/null", "c", 1, 3, 0o666, 0, 0)


def test_a_link_to_a_device_is_not_a_device(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    with pytest.raises(NotADevice):
        device_at(str(tmp_path / "null"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mknod needs root")
def test_devices_below_are_sorted_and_forbidden_directories_are_passed_over(tmp_path: Path) -> None:
    for name in ("b", "sub/a", "pts/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (tmp_path / "file").touch()
    found = devices_below(str(tmp_path), without=[str(tmp_path / "pts")])
    assert [device.path for device in found] == [str(tmp_path / "b"), str(tmp_path / "sub/a")]
