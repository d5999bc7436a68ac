"""Which mount a root lies on."""

from pathlib import Path

from lighterman.linux.mountinfo import parse_mountinfo
from lighterman.runtime.shared_roots import _mount_of


def test_a_root_lies_on_the_last_of_the_deepest_mounts_above_it() -> None:
    mounts = parse_mountinfo(
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "21 20 8:2 / /var rw - ext4 /dev/sda2 rw\n"
        "22 21 8:3 / /var rw - ext4 /dev/sda3 rw\n"
        "23 20 8:4 / /variable rw - ext4 /dev/sda4 rw\n"
    )
    assert _mount_of(Path("/var/lib"), mounts) == mounts[2]


def test_in_a_chroot_that_is_no_mount_it_lies_on_none() -> None:
    assert _mount_of(Path("/var/lib"), parse_mountinfo("24 1 0:5 / /proc rw - proc proc rw\n")) is None
