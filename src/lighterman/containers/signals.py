"""Signals as clients write them."""

import signal

from lighterman.errdefs import InvalidParameter

_LAST = 64  # Linux's SIGRTMAX; the C library keeps the first two real-time signals for itself
_NUMBERS = {member.name.removeprefix("SIG"): int(member) for member in signal.Signals}
_NUMBERS |= {f"RTMIN+{offset}": 34 + offset for offset in range(1, 16)}
_NUMBERS |= {f"RTMAX-{offset}": _LAST - offset for offset in range(1, 15)}
_NUMBERS |= {"CLD": int(signal.SIGCHLD), "POLL": int(signal.SIGIO), "UNUSED": int(signal.SIGSYS)}


def parse_signal(text: str) -> int:
    """The number of "9", "KILL" or "sigkill". Raises InvalidParameter in Docker's words.

    A number that is no signal here is passed; `Runtime.signal` is never asked for it (see `kill`).
    """
    if text.isdecimal():
        number = int(text)
        if number == 0:
            raise InvalidParameter(f"Invalid signal: {text}")
        return number
    number = _NUMBERS.get(text.upper().removeprefix("SIG"), 0)
    if number == 0:
        raise InvalidParameter(f"Invalid signal: {text}")
    return number


def is_known(number: int) -> bool:
    """Whether this kernel has the signal. Source: measured, "The linux daemon does not support signal 99"."""
    return 1 <= number <= _LAST
