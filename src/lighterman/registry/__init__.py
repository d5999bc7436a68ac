"""The distribution protocol, as a client.

Three words. A *registry* is a host; a *repository* is one name on it, spoken to for the length of one
operation with the credentials of one request; a *manifest* says what an image is made of, an *index* which
manifest is for which platform. Blobs of any size are fetched by `content`'s workers, which get their URL and
headers from here.
"""

from lighterman.registry.agent import upstream_client
from lighterman.registry.auth import chosen
from lighterman.registry.client import LOOPBACK, Registry
from lighterman.registry.endpoints import CERTS_D, Endpoint, check_mirror
from lighterman.registry.errors import RegistryError, refused
from lighterman.registry.manifest import (
    CONFIG,
    CONFIG_MAX,
    LAYER,
    LAYERS_MAX,
    MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    PLUGIN_CONFIG,
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
from lighterman.registry.progress import Emit, action, status, step_action, stream
from lighterman.registry.remote import Remote, opened_url
from lighterman.registry.repository import Fetched, Repository

__all__ = [
    "CERTS_D",
    "CONFIG",
    "CONFIG_MAX",
    "LAYER",
    "LAYERS_MAX",
    "LOOPBACK",
    "MANIFEST",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_MANIFEST",
    "PLUGIN_CONFIG",
    "Emit",
    "Endpoint",
    "Fetched",
    "Index",
    "Manifest",
    "Registry",
    "RegistryError",
    "Remote",
    "Repository",
    "UnsupportedManifest",
    "action",
    "check_mirror",
    "choose",
    "chosen",
    "format_platform",
    "normalized",
    "opened_url",
    "parse_manifest",
    "parse_platform",
    "refused",
    "runs_on",
    "status",
    "step_action",
    "stream",
    "upstream_client",
]
