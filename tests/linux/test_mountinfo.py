from lighterman.linux.mountinfo import Mount, parse_mountinfo, read_mountinfo

LINE = r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime shared:1 master:7 - ext3 /dev/root rw,errors=continue"


def test_a_line_becomes_a_mount_with_its_escapes_undone() -> None:
    assert parse_mountinfo(LINE) == [
        Mount(
            id=36,
            parent=35,
            device="98:0",
            root="/mnt1",
            point="/mnt 2",
            options=("rw", "noatime"),
            propagation=("shared:1", "master:7"),
            type="ext3",
            source="/dev/root",
            super_options=("rw", "errors=continue"),
        )
    ]


def test_a_private_mount_has_no_propagation() -> None:
    assert parse_mountinfo("21 20 0:5 / /proc rw - proc none rw")[0].propagation == ()


def test_this_process_has_a_root() -> None:
    assert any(mount.point == "/" for mount in read_mountinfo())
