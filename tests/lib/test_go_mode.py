"""Modes as Go counts them."""

import stat

import pytest

from lighterman.lib.go_mode import go_mode


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, 420),  # as dockerd told of /etc/hostname
        (stat.S_IFDIR | 0o755, 2147484141),  # of /etc
        (stat.S_IFLNK | 0o777, 134218239),
        (stat.S_IFCHR | 0o666, 0x4200000 | 0o666),
        (stat.S_IFBLK | 0o660, 0x4000000 | 0o660),
        (stat.S_IFIFO | 0o600, 0x2000000 | 0o600),
        (stat.S_IFSOCK | 0o600, 0x1000000 | 0o600),
        (stat.S_IFDIR | 0o1777, 0x80100000 | 0o777),
        (stat.S_IFREG | 0o6755, 0xC00000 | 0o755),
    ],
)
def test_a_mode_has_gos_bits(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected
