"""Who we are to a registry: challenges and what answers them.

Source: RFC 9110 on `WWW-Authenticate`; distribution's token authentication specification.
"""

import base64
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from lighterman.apitypes.registry import AuthConfig
from lighterman.reference import DEFAULT_DOMAIN, Reference

DOCKERS_ADDRESS = "https://index.docker.io/v1/"
"""By what clients keep the credentials of Docker's own registry."""

_SCHEME = re.compile(r"\s*([A-Za-z]+)(?:\s+|$)(.*)", re.DOTALL)
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


class Challenge(Struct, frozen=True):
    """What a registry asks for: `scheme` is "basic" or "bearer"."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of `WWW-Authenticate` headers; what cannot be read is left out."""
    found: list[Challenge] = []
    for header in headers:
        match = _SCHEME.fullmatch(header)
        if match:
            parameters = {
                name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(match[2])
            }
            found.append(Challenge(match[1].lower(), parameters))
    return found


def credentials(auth: AuthConfig | None) -> tuple[str, str] | None:
    """User and password of an AuthConfig, from whichever of its fields has them."""
    if auth is None:
        return None
    if auth.username or auth.password:
        return auth.username, auth.password
    if not auth.auth:
        return None
    try:
        text = base64.b64decode(auth.auth, validate=True).decode()
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    return (user, password.strip("\0")) if colon else None


def chosen(configs: Mapping[str, AuthConfig], reference: Reference) -> AuthConfig | None:
    """Of the credentials of several registries, by the addresses that users logged in to, those for an image.

    Source: ResolveAuthConfig of dockerd: Docker's own has one address, all others are known by their hosts.
    """
    if reference.domain == DEFAULT_DOMAIN:
        return configs.get(DOCKERS_ADDRESS)
    by_host = {_host(address): auth for address, auth in configs.items()}
    return configs.get(reference.domain) or by_host.get(reference.domain)


def _host(address: str) -> str:
    return address.removeprefix("https://").removeprefix("http://").partition("/")[0]


def basic(user: str, password: str) -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
