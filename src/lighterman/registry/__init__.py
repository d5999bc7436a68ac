"""The distribution protocol, as a client.

Three words. A *registry* is a host; a *repository* is one name on it, spoken to for the length of one
operation with the credentials of one request; a *manifest* says what an image is made of, an *index* which
manifest is for which platform. Blobs of any size are fetched by `content`'s workers, which get their URL and
headers from here.
"""

from lighterman.registry.client import Fetched, Registry, Repository
from lighterman.registry.errors import RegistryError
from lighterman.registry.manifest import (
    CONFIG_MAX,
    LAYERS_MAX,
    Index,
    Manifest,
    UnsupportedManifest,
    choose,
    format_platform,
    normalized,
    parse_manifest,
    parse_platform,
    runs_on,
)

__all__ = [
    "CONFIG_MAX",
    "LAYERS_MAX",
    "Fetched",
    "Index",
    "Manifest",
    "Registry",
    "RegistryError",
    "Repository",
    "UnsupportedManifest",
    "choose",
    "format_platform",
    "normalized",
    "parse_manifest",
    "parse_platform",
    "runs_on",
]
