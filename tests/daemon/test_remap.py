"""userns-remap: who it names, and which ids he has."""

import grp
import pwd

import pytest

from lighterman.daemon.config import EngineConfig
from lighterman.daemon.remap import free_range, id_map_of, parse_remap, subordinate
from lighterman.daemon.validation import validate
from lighterman.errdefs import InvalidParameter
from lighterman.linux.userns import IdMap, Range

ROOT, NOBODY = "root", pwd.getpwuid(65534).pw_name
NOGROUP = grp.getgrgid(65534).gr_name


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("default", ("dockremap", "dockremap")),
        (f"{NOBODY}:{NOGROUP}", (NOBODY, NOGROUP)),
        ("65534:65534", (NOBODY, NOGROUP)),
        (f"{NOBODY}:0", (NOBODY, ROOT)),
        (ROOT, (ROOT, ROOT)),
    ],
)
def test_the_option_names_a_user_and_a_group(text: str, names: tuple[str, str]) -> None:
    assert parse_remap(text) == names


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nosuchuser-", 'Error during uid lookup for "nosuchuser-"'),
        (f"{ROOT}:nosuchgroup-", 'Error during gid lookup for "nosuchgroup-"'),
        ("a:b:c", "Invalid user/group specification"),
        (f"{ROOT}:", "Invalid user/group specification"),
        (":0", "Invalid user/group specification"),
    ],
)
def test_who_is_not_there_is_told_before_the_start(text: str, reason: str) -> None:
    with pytest.raises(InvalidParameter, match=reason):
        validate(EngineConfig(userns_remap=text))


def test_root_is_mapped_to_nobody_else() -> None:
    assert id_map_of("") is id_map_of(ROOT) is None


def test_the_ranges_of_somebody_follow_each_other() -> None:
    text = "# a comment\nother:100000:65536\nme:200000:1000\nbroken\nme:x:1\n1234:300000:10\nme:5:0\n"
    found = (Range(0, 200000, 1000), Range(1000, 300000, 10))
    assert subordinate(text, "me", 1234) == found
    assert subordinate(text, "nobody", 7) == ()
    assert IdMap(found, found).root == (200000, 200000)
    assert IdMap(found, found).outside(1003, 5) == (300003, 200005)
    with pytest.raises(OSError, match="1010 is not mapped"):
        IdMap(found, found).outside(1010, 0)


def test_new_ranges_are_behind_all_others() -> None:
    assert free_range(["", ""]) == 100_000
    assert free_range(["a:100000:65536\n", "b:300000:65536\n"]) == 365_536
