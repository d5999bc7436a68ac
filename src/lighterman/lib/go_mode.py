"""File modes as Go counts them: what the API calls `mode` is an os.FileMode, not a st_mode."""

import stat

_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_MODE_TYPE = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def go_mode(mode: int) -> int:
    """The os.FileMode of a st_mode. Source: io/fs of Go, `FileMode`."""
    bits = sum(ours for theirs, ours in _BITS.items() if mode & theirs)
    return mode & 0o777 | bits | _KINDS.get(stat.S_IFMT(mode), 0)


def st_mode(mode: int) -> int:
    """The st_mode of an os.FileMode, S_IFREG where no other kind is said."""
    bits = sum(ours for ours, theirs in _BITS.items() if mode & theirs)
    kind = next((ours for ours, theirs in _KINDS.items() if mode & _MODE_TYPE == theirs), stat.S_IFREG)
    return mode & 0o777 | bits | kind
