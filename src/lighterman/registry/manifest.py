"""Manifests and indexes, pure: from bytes to what they describe.

Sources: OCI image-spec (manifest, image index); Docker's image manifest version 2, schema 2.
"""

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct, field

from lighterman.apitypes.registry import Descriptor, Platform
from lighterman.errdefs import InvalidParameter, NotFound
from lighterman.lib.go_quote import go_quote
from lighterman.reference import is_digest

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"
"""Docker's name for a layer; with `.gzip` behind it when it is compressed."""
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
"""OCI's name for a layer; with `+gzip` or `+zstd` behind it when it is compressed."""
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
ACCEPTED = (OCI_INDEX, LIST, OCI_MANIFEST, MANIFEST, SCHEMA1_SIGNED, SCHEMA1)

PLUGIN_CONFIG = "application/vnd.docker.plugin.v1+json"
IMAGE_CONFIGS = (CONFIG, OCI_CONFIG, "application/octet-stream", "")
"""What the configuration of an image is called; all else is an artifact. Source: dockerd."""
LAYERS_MAX = 500
"""As many as one overlay mount takes."""
CONFIG_MAX = 4 << 20
"""Bytes of an image's configuration."""


class Listed(Descriptor, frozen=True):
    """An entry of an index."""

    platform: Platform | None = None


class _Document(Struct, rename="camel"):
    """Both kinds at once: a document that is both is ambiguous, and refused (CVE-2021-41190)."""

    schema_version: int = 0
    media_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Listed] | None = None
    fs_layers: list[msgspec.Raw] | None = field(name="fsLayers", default=None)


class Manifest(Struct, frozen=True):
    """What one image is made of."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(Struct, frozen=True):
    """Images for several platforms under one name."""

    manifests: tuple[Listed, ...]


class UnsupportedManifest(InvalidParameter):
    """A manifest that no image can be made of."""


def parse_manifest(
    raw: bytes, media_type: str, *, familiar: str, configs: Collection[str] = IMAGE_CONFIGS
) -> Manifest | Index:
    """What a registry sent for the reference `familiar`. `configs` are the media types of configurations
    that are wanted. Raises: UnsupportedManifest."""
    try:
        document = msgspec.json.decode(raw, type=_Document)
    except msgspec.DecodeError as error:
        raise UnsupportedManifest("unsupported manifest format") from error
    kind = media_type.partition(";")[0].strip()
    if kind in (SCHEMA1, SCHEMA1_SIGNED) or document.schema_version == 1 or document.fs_layers is not None:
        raise UnsupportedManifest(
            "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. "
            f"Suggest the author of {familiar} to upgrade the image to the OCI Format or Docker Image "
            "manifest v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
        )
    if document.media_type and kind in ACCEPTED and document.media_type != kind:
        raise UnsupportedManifest(f"manifest says it is {document.media_type!r}, but was sent as {kind!r}")
    if document.manifests is not None:
        if document.layers is not None or document.config is not None:
            raise UnsupportedManifest("unsupported manifest format: it is both an index and a manifest")
        for entry in document.manifests:
            _check(entry)
        return Index(tuple(document.manifests))
    if document.config is None or document.layers is None:
        raise UnsupportedManifest("unsupported manifest format")
    return _manifest(document.config, document.layers, configs)


def _manifest(config: Descriptor, layers: Sequence[Descriptor], configs: Collection[str]) -> Manifest:
    if config.media_type not in configs:
        kind = "plugin" if config.media_type == PLUGIN_CONFIG else "unknown"
        raise UnsupportedManifest(f'Encountered remote "{config.media_type}"({kind}) when fetching')
    if any("foreign" in layer.media_type or "nondistributable" in layer.media_type for layer in layers):
        raise UnsupportedManifest("layers that have to be fetched from elsewhere (foreign) are not supported")
    if len(layers) > LAYERS_MAX:
        raise UnsupportedManifest(
            f"max depth exceeded: {len(layers)} layers, at most {LAYERS_MAX} are possible"
        )
    for descriptor in (config, *layers):
        _check(descriptor)
    if config.size > CONFIG_MAX:
        raise UnsupportedManifest(f"an image configuration of {config.size} bytes is too long")
    return Manifest(config, tuple(layers))


def _check(descriptor: Descriptor) -> None:
    # a digest becomes a path and a part of an URL
    if not is_digest(descriptor.digest) or not descriptor.digest.startswith("sha256:"):
        raise UnsupportedManifest(f"could not validate layer digest {descriptor.digest!r}")
    if descriptor.size < 0:
        raise UnsupportedManifest("unsupported manifest format: a size is negative")


def choose(index: Index, wanted: Platform) -> Listed:
    """The entry for a platform: an exact variant first, then none, then any that runs there.

    Raises: NotFound in Docker's words.
    """
    fitting = [
        entry
        for entry in index.manifests
        if entry.media_type in (MANIFEST, OCI_MANIFEST, "") and runs_on(entry.platform or Platform(), wanted)
    ]
    if not fitting:
        raise NotFound(
            f"no matching manifest for {format_platform(wanted)} in the manifest list entries: not found"
        )
    return min(fitting, key=lambda entry: _distance(entry.platform or Platform(), wanted))


def runs_on(image: Platform, host: Platform) -> bool:
    """Whether an image for one platform runs on another; a variant up to the host's does."""
    image, host = normalized(image), normalized(host)
    if (image.os, image.architecture) != (host.os, host.architecture):
        return False
    return not image.variant or not host.variant or image.variant <= host.variant


def _distance(image: Platform, wanted: Platform) -> tuple[bool, str]:
    variant = normalized(image).variant
    # of those that run, the highest variant is the best: compare characters the other way round
    return variant != normalized(wanted).variant, "".join(chr(255 - ord(c)) for c in variant)


_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "armhf": "arm",
    "armel": "arm",
    "macos": "darwin",
}
_VARIANTS = {
    ("arm64", "v8"): "",
    ("arm64", "8"): "",
    ("amd64", "v1"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
_SYSTEMS = frozenset(
    [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    ]
)
_MACHINES = frozenset(
    [
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "loong64",
        "mips",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "mipsle",
        "ppc",
        "ppc64",
        "ppc64le",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ]
)


def normalized(platform: Platform) -> Platform:
    """With Go's names, and default variants as no variant. Source: containerd's platforms."""
    written, variant = platform.architecture.lower(), platform.variant.lower()
    architecture, os = _ALIASES.get(written, written), platform.os.lower() or "linux"
    variant = "v6" if written == "armel" else _VARIANTS.get((architecture, variant), variant)
    return Platform(architecture, _ALIASES.get(os, os), variant)


def parse_platform(text: str, *, host: Platform) -> Platform:
    """`os`, `arch`, `os/arch` or `os/arch/variant`; one word alone must be known. Raises: InvalidParameter.

    Source: Parse of containerd's platforms.
    """
    parts = text.split("/")
    for part in parts:
        if not part.isascii() or not part.replace("_", "a").replace("-", "a").isalnum():
            raise InvalidParameter(
                f"{go_quote(part)} is an invalid component of {go_quote(text)}: platform specifier component "
                'must match "^[A-Za-z0-9_-]+$": invalid argument'
            )
    if len(parts) > 3:
        raise InvalidParameter(f"{go_quote(text)}: cannot parse platform specifier: invalid argument")
    if len(parts) > 1:
        return normalized(Platform(parts[1], parts[0], "".join(parts[2:])))
    system, machine = normalized(Platform(os=text)).os, normalized(Platform(text, host.os))
    if system in _SYSTEMS:
        return Platform(host.architecture, system, host.variant if system == host.os else "")
    if machine.architecture not in _MACHINES:
        raise InvalidParameter(
            f"{go_quote(text)}: unknown operating system or architecture: invalid argument"
        )
    return machine


def format_platform(platform: Platform) -> str:
    """As Docker writes it: linux/arm64/v8."""
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))
