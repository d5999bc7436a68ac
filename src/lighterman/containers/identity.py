"""Who a process is: `User` and `GroupAdd`, looked up in the container's own passwd and group files. Pure.

The texts come from inside the container, so nothing of them is believed beyond numbers and names.
Source: GetExecUser of runc's libcontainer/user, in whose words the failures are told.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from lighterman.errdefs import InvalidParameter

MAX_ID = 2**31 - 1


class Identity(Struct, frozen=True):
    """What a process runs as."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()  # the supplementary ones, the primary among them (CVE-2022-36109)
    home: str = "/"


class _Account(Struct, frozen=True):
    name: str
    uid: int
    gid: int
    home: str


class _Group(Struct, frozen=True):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_identity(user: str, group_add: Sequence[str], passwd: str, group: str) -> Identity:
    """The identity of `user` ("", "name", "uid", either with ":group"), with the groups of `group_add`.

    `passwd` and `group` are the texts of the files, "" where there is none.
    Raises InvalidParameter in Docker's words for names that are not there.
    """
    name, _, group_name = user.partition(":")
    groups = tuple(_groups(group))
    account = _account(name or "0", tuple(_accounts(passwd)), named=bool(name))
    if group_name:
        gid = _gid(group_name, groups, f"unable to find group {group_name}: ")
        member_of: tuple[int, ...] = ()
    else:
        gid = account.gid
        member_of = tuple(each.gid for each in groups if account.name and account.name in each.members)
    added = tuple(_gid(each, groups, f"Unable to find group {each}: ") for each in group_add)
    return Identity(
        uid=account.uid,
        gid=gid,
        groups=tuple(dict.fromkeys((gid, *member_of, *added))),
        home=account.home or "/",
    )


def user_number(name: str, passwd: str) -> int | None:
    """The uid of a user by name or number; None: there is no such name."""
    if _is_number(name):
        return _checked(int(name))
    return next((account.uid for account in _accounts(passwd) if account.name == name), None)


def group_number(name: str, group: str) -> int | None:
    """The gid of a group by name or number; None: there is no such name."""
    if _is_number(name):
        return _checked(int(name))
    return next((each.gid for each in _groups(group) if each.name == name), None)


def _account(name: str, accounts: tuple[_Account, ...], *, named: bool) -> _Account:
    for account in accounts:
        if account.name == name or str(account.uid) == name:
            return account
    if not _is_number(name):
        raise InvalidParameter(f"unable to find user {name}: no matching entries in passwd file")
    return _Account(name="", uid=_checked(int(name)), gid=0, home="/" if named else "/root")


def _gid(name: str, groups: tuple[_Group, ...], complaint: str) -> int:
    for group in groups:
        if group.name == name or str(group.gid) == name:
            return group.gid
    if not _is_number(name):
        raise InvalidParameter(f"{complaint}no matching entries in group file")
    return _checked(int(name))


def _is_number(name: str) -> bool:
    """What Go's Atoi takes, too: a sign is allowed, and told to be out of range rather than unknown."""
    return re.fullmatch(r"[+-]?[0-9]+", name) is not None


def _checked(number: int) -> int:
    if not 0 <= number <= MAX_ID:
        raise InvalidParameter("uids and gids must be in range 0-2147483647")
    return number


def _accounts(text: str) -> Iterator[_Account]:
    for fields in _lines(text, 7):
        if fields[2].isdecimal() and fields[3].isdecimal():
            yield _Account(fields[0], int(fields[2]), int(fields[3]), fields[5])


def _groups(text: str) -> Iterator[_Group]:
    for fields in _lines(text, 4):
        if fields[2].isdecimal():
            yield _Group(fields[0], int(fields[2]), tuple(filter(None, fields[3].split(","))))


def _lines(text: str, count: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if not line.startswith("#"):
            yield [*fields, *[""] * (count - len(fields))]
