"""Names that swarm gives to its objects."""

import secrets

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
ID_LENGTH = 25
"""Characters of base 36: 128 bits of chance, as in SwarmKit."""


def base36(number: int, length: int) -> str:
    """`number` in base 36, with leading zeros up to `length` characters."""
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text.rjust(length, "0")


def new_id() -> str:
    """An id for a new object: 25 characters of base 36."""
    return base36(secrets.randbits(128), ID_LENGTH)
