"""Registries on the wire. Source: AuthConfig, AuthResponse and DistributionInspect of the API."""

from msgspec import Struct

from lighterman.apitypes.wire import Wire


class AuthConfig(Struct, frozen=True, omit_defaults=True):
    """Credentials for one registry, from `X-Registry-Auth` (base64url of JSON) or the body of `/auth`."""

    username: str = ""
    password: str = ""
    auth: str = ""
    """base64 of `username:password`; used when those are empty."""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    """An OAuth refresh token, in the place of a password."""
    registrytoken: str = ""
    """A bearer token, sent as it is."""

    def __repr__(self) -> str:
        return "AuthConfig(...)"  # credentials have no place in a log


class AuthResponse(Wire, frozen=True):
    status: str
    identity_token: str = ""


class Descriptor(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Source: OCI image-spec, descriptor."""

    media_type: str = ""
    digest: str = ""
    size: int = 0


class Platform(Struct, frozen=True, omit_defaults=True):
    """Source: OCI image-spec, image index."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class DistributionInspect(Wire, frozen=True):
    descriptor: Descriptor
    platforms: list[Platform]


class SearchResult(Struct, frozen=True):
    """One repository that an index found; the index and the API write it alike."""

    name: str = ""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False
