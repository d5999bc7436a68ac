"""AppArmor is usable where the kernel has it and a parser is installed."""

from pathlib import Path

from lighterman.linux.apparmor import PROFILES, is_usable, loaded_profiles


def a_root(root: Path, *, kernel: bool, parser: bool) -> Path:
    (root / PROFILES).parent.mkdir(parents=True)
    (root / "usr/sbin").mkdir(parents=True)
    if kernel:
        (root / PROFILES).write_text("docker-default (enforce)\n/usr/bin/man (complain)\n")
    if parser:
        (root / "usr/sbin/apparmor_parser").touch()
    return root


def test_it_needs_the_kernel_and_the_parser(tmp_path: Path) -> None:
    assert is_usable(a_root(tmp_path / "both", kernel=True, parser=True))
    assert not is_usable(a_root(tmp_path / "kernel", kernel=True, parser=False))
    assert not is_usable(a_root(tmp_path / "parser", kernel=False, parser=True))


def test_loaded_profiles_are_known_by_name(tmp_path: Path) -> None:
    root = a_root(tmp_path / "root", kernel=True, parser=True)
    assert loaded_profiles(root) == {"docker-default", "/usr/bin/man"}
