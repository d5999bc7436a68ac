"""Join tokens and unlock keys: the secrets of a swarm that people copy.

A join token is `SWMTKN-1-<digest>-<secret>`: the digest tells a node that joins which root it may trust
before it says anything; the secret tells the swarm that it may come, and as what. Source: ca/config.go of
SwarmKit. An unlock key is `SWMKEY-1-` and 32 bytes in base64 without padding. Source: manager/encryption of
SwarmKit.
"""

import base64
import binascii
import hmac
import re
import secrets

from msgspec import Struct

from lighterman.errdefs import InvalidParameter, System
from lighterman.swarm.identity import base36

_DIGEST_LENGTH = 50
_SECRET_LENGTH = 25
_TOKEN = re.compile(r"SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})")
_KEY_PREFIX = "SWMKEY-1-"


class BadToken(System):
    """Not a token. Source: dockerd 20.10.24, which answers 500."""

    def __init__(self) -> None:
        super().__init__("invalid join token")


class NeedsToken(InvalidParameter):
    """No token, or another swarm's, or an old one."""

    def __init__(self) -> None:
        super().__init__(
            "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster"
        )


class JoinToken(Struct, frozen=True):
    """A token taken apart."""

    digest: str
    """SHA-256 of the root certificate's text, in hex."""
    secret: str


def new_token(root_digest: str) -> str:
    """A token for the swarm whose root certificate has this digest (hex)."""
    secret = base36(secrets.randbits(128), _SECRET_LENGTH)
    return f"SWMTKN-1-{base36(int(root_digest, 16), _DIGEST_LENGTH)}-{secret}"


def parse_token(token: str) -> JoinToken:
    """Raises: NeedsToken for none, BadToken."""
    if not token:
        raise NeedsToken
    if not (match := _TOKEN.fullmatch(token)):
        raise BadToken
    return JoinToken(f"{int(match[1], 36):064x}", match[2])


def same_token(given: str, real: str) -> bool:
    """Compares in constant time."""
    return bool(real) and hmac.compare_digest(given.encode(), real.encode())


def new_unlock_key() -> bytes:
    return secrets.token_bytes(32)


def human_key(key: bytes) -> str:
    """The unlock key as people see it."""
    return _KEY_PREFIX + base64.b64encode(key).decode().rstrip("=")


def parse_key(text: str) -> bytes:
    """Raises: InvalidParameter."""
    try:
        if not text.startswith(_KEY_PREFIX):
            raise ValueError(text)
        key = base64.b64decode(text.removeprefix(_KEY_PREFIX) + "=", validate=True)
        if len(key) != 32:
            raise ValueError(text)
    except (ValueError, binascii.Error):
        raise InvalidParameter("invalid key string") from None
    return key
