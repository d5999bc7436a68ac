"""What a client asks a build for, as values. Source: ImageBuild; the rest of its query as moby reads it."""

from collections.abc import Mapping

from msgspec import Struct, field

from lighterman.apitypes.container import HostConfig
from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.reference import Reference, parse_reference

HUB = "https://index.docker.io/v1/"
"""What credentials of Docker's own registry are filed under."""


class BuildWish(Struct, frozen=True):
    """One build."""

    dockerfile: str = "Dockerfile"
    tags: tuple[str, ...] = ()
    remote: str = ""
    """Where the context is, if it does not come with the request."""
    session: str = ""
    """Of a client that lends files, secrets or credentials."""
    quiet: bool = False
    no_cache: bool = False
    cache_from: tuple[str, ...] = ()
    pull: bool = False
    rm: bool = True
    """Containers of steps that went well are removed."""
    force_rm: bool = False
    """Those of others too."""
    squash: bool = False
    build_args: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    host: HostConfig = HostConfig()
    """How the containers of steps run: limits, network, further hosts."""
    auths: Mapping[str, AuthConfig] = field(default_factory=dict)
    """By registry, as clients keep them."""
    aux: bool = True
    """Ids are told as values too: since 1.30."""

    def names(self) -> list[Reference]:
        """What the image is to be called, each once, in their order. Raises: InvalidParameter."""
        found: dict[Reference, None] = {}
        for tag in self.tags:
            if not tag:
                continue
            reference = parse_reference(tag)
            if reference.digest:
                raise InvalidParameter("build tag cannot contain a digest")
            found[reference.with_default_tag()] = None
        return list(found)

    def auth_for(self, reference: Reference) -> AuthConfig | None:
        """The credentials for an image's registry. Source: ResolveAuthConfig of moby 20.10."""
        if reference.domain == "docker.io":
            return self.auths.get(HUB)
        if reference.domain in self.auths:
            return self.auths[reference.domain]
        return next((auth for key, auth in self.auths.items() if _host(key) == reference.domain), None)


def _host(key: str) -> str:
    return key.removeprefix("http://").removeprefix("https://").partition("/")[0]
