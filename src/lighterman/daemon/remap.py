"""`userns-remap`: whose subordinate ids are those of containers.

Who that is says the option, how many he has say /etc/subuid and /etc/subgid (subuid(5)): his ranges, one
after the other, become the ids from 0 on. "default" is the user dockremap, who is made if he is not there and
given ranges that nobody has. Source: parseRemappedRoot and NewIdentityMapping of moby.
"""

import grp
import logging
import pwd
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lighterman.errdefs import InvalidParameter, System
from lighterman.linux.userns import IdMap, Range

DEFAULT, DEFAULT_USER = "default", "dockremap"
FIRST_ID, LENGTH = 100_000, 65_536
"""Where ranges begin when there are none, and how long one is. Source: defaultRangeStart of moby."""
SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")
log = logging.getLogger(__name__)


class _Unmade(System):
    def __init__(self, why: str) -> None:
        super().__init__(f'userns-remap: the user "{DEFAULT_USER}" and ids for him cannot be made: {why}')


def parse_remap(text: str) -> tuple[str, str]:
    """(user, group) of the option, by name. Raises: InvalidParameter in dockerd's words: no such one."""
    user, colon, group = text.partition(":")
    if not user or (colon and not group) or ":" in group:
        raise InvalidParameter(f"Invalid user/group specification in --userns-remap: {text!r}")
    if user == DEFAULT and not colon:
        return DEFAULT_USER, DEFAULT_USER
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise InvalidParameter(f'Error during uid lookup for "{user}": no such user') from None
    return found.pw_name, _group(group) if group else _group(found.pw_name)


def _group(group: str) -> str:
    try:
        return (grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)).gr_name
    except KeyError:
        raise InvalidParameter(f'Error during gid lookup for "{group}": no such group') from None


def id_map_of(text: str) -> IdMap | None:
    """The map of the option; None for "", and for root, whom nothing is mapped to. Blocks.

    Raises: InvalidParameter, System: there are no ranges.
    """
    if not text:
        return None
    user, group = parse_remap(text)
    if user == "root":
        log.warning("User namespaces: root cannot be remapped with itself; user namespaces are OFF")
        return None
    if text == DEFAULT:
        _make_default_user()
    uids = subordinate(SUBUID.read_text() if SUBUID.exists() else "", user, _uid(user))
    gids = subordinate(SUBGID.read_text() if SUBGID.exists() else "", group, _gid(group))
    for path, name, ranges in ((SUBUID, user, uids), (SUBGID, group, gids)):
        if not ranges:
            raise System(f'userns-remap: no subordinate ids found for "{name}" in {path}')
    return IdMap(uids, gids)


def _uid(user: str) -> int:
    return pwd.getpwnam(user).pw_uid


def _gid(group: str) -> int:
    return grp.getgrnam(group).gr_gid


def subordinate(text: str, name: str, number: int) -> tuple[Range, ...]:
    """The ranges that a file of subuid(5) has for somebody, by name or number; other lines are left out."""
    ranges: list[Range] = []
    inside = 0
    for who, first, length in _lines(text):
        if who in (name, str(number)):
            ranges.append(Range(inside, first, length))
            inside += length
    return tuple(ranges)


def _lines(text: str) -> Iterable[tuple[str, int, int]]:
    for line in text.splitlines():
        match line.strip().split(":"):
            case [who, first, length] if first.isdecimal() and length.isdecimal() and int(length):
                yield who, int(first), int(length)


def free_range(texts: Iterable[str]) -> int:
    """The first id of a range that nobody has in these files."""
    ends = [first + length for text in texts for _, first, length in _lines(text)]
    return max([FIRST_ID, *ends])


def _make_default_user() -> None:
    """Have the user dockremap with ranges. Raises: System: the host's tools cannot make him."""
    try:
        pwd.getpwnam(DEFAULT_USER)
    except KeyError:
        _run("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", DEFAULT_USER)
    texts = {path: path.read_text() if path.exists() else "" for path in (SUBUID, SUBGID)}
    first = free_range(texts.values())
    for path, flag in ((SUBUID, "--add-subuids"), (SUBGID, "--add-subgids")):
        if not any(who == DEFAULT_USER for who, _, _ in _lines(texts[path])):
            path.touch()
            _run("usermod", flag, f"{first}-{first + LENGTH - 1}", DEFAULT_USER)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise _Unmade(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise _Unmade(done.stderr.strip())
