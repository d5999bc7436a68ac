"""AppArmor: whether profiles can be used here, and loading one.

A profile is compiled by `apparmor_parser`, which the kernel's interface has no other way for: without it
(Debian's package `apparmor`) AppArmor is of no use to an engine, even where the kernel enforces it.
Source: apparmor(7), apparmor_parser(8).
"""

import subprocess
from pathlib import Path

PROFILES = "sys/kernel/security/apparmor/profiles"
_PARSERS = ("sbin/apparmor_parser", "usr/sbin/apparmor_parser")


def parser(root: Path = Path("/")) -> Path | None:
    """The program that compiles and loads profiles."""
    return next((root / path for path in _PARSERS if (root / path).exists()), None)


def is_usable(root: Path = Path("/")) -> bool:
    """Whether the kernel enforces profiles and new ones can be loaded."""
    return (root / PROFILES).exists() and parser(root) is not None


def loaded_profiles(root: Path = Path("/")) -> set[str]:
    """The names of all profiles that the kernel has. Raises: OSError."""
    return {line.rpartition(" (")[0] for line in (root / PROFILES).read_text().splitlines()}


def load(profile: str) -> None:
    """Compile a profile's text and give it to the kernel. Blocks for tens of ms.

    Raises: OSError with the parser's words.
    """
    done = subprocess.run(
        [str(parser()), "--skip-cache", "--replace"], input=profile.encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())
