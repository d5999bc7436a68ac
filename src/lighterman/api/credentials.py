"""What clients send of their credentials for registries: read, handed on, never kept and never logged.

X-Registry-Auth is of one registry; X-Registry-Config, which a build sends, holds those of all. As in dockerd,
a pull or a build goes on without what cannot be read: most registries give without asking.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from lighterman.apitypes.registry import AuthConfig

T = TypeVar("T")


def registry_auth(headers: Mapping[str, str]) -> AuthConfig | None:
    """What X-Registry-Auth holds."""
    return _decoded(headers.get("X-Registry-Auth", ""), AuthConfig)


def registry_config(headers: Mapping[str, str]) -> Mapping[str, AuthConfig]:
    """What X-Registry-Config holds: AuthConfigs by the address that users logged in to."""
    return _decoded(headers.get("X-Registry-Config", ""), dict[str, AuthConfig]) or {}


def _decoded(header: str, kind: type[T]) -> T | None:
    try:
        text = urlsafe_b64decode(header + "=" * (-len(header) % 4))
        return msgspec.json.decode(text, type=kind) if text else None
    except ValueError:
        return None
