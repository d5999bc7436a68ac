"""Parsing and writing references.

Source: the grammar and the texts of distribution/reference, as dockerd 20.10.24 vendors it.
"""

import re
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from lighterman.errdefs import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL = "library"
DEFAULT_TAG = "latest"
NAME_MAX = 255
"""Characters of domain and path together, with the slash between."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-*)[a-z0-9]+)*"
_DOMAIN_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_IPV6 = r"\[[a-fA-F0-9:]+\]"
"""Of a later grammar than dockerd 20.10's, which had none for it."""
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|{_IPV6})(?::[0-9]+)?"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_REFERENCE = re.compile(
    rf"({_DOMAIN})/({_COMPONENT}(?:/{_COMPONENT})*)(?::({_TAG.pattern}))?(?:@({_DIGEST}))?", re.ASCII
)
_HEX_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Reference(Struct, frozen=True):
    """A name in full: `domain` and `path` are always there, `tag` and `digest` may be empty."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: what names the repository."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as users type it."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        owner, slash, rest = self.path.partition("/")
        return rest if slash and owner == OFFICIAL and "/" not in rest else self.path

    def familiar(self) -> str:
        """The whole reference as users type it."""
        return self.familiar_name + self._suffix()

    def repository(self) -> "Reference":
        """The name alone."""
        return Reference(self.domain, self.path)

    def with_tag(self, tag: str) -> "Reference":
        """The same with this tag. Raises: InvalidParameter."""
        if not _TAG.fullmatch(tag):
            raise InvalidParameter("invalid tag format")
        return replace(self, tag=tag)

    def with_digest(self, digest: str) -> "Reference":
        """The same with this digest. Raises: InvalidParameter."""
        if not is_digest(digest):
            raise InvalidParameter("invalid digest format")
        return replace(self, digest=digest)

    def with_default_tag(self) -> "Reference":
        """With `latest` where there is neither a tag nor a digest."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, DEFAULT_TAG)

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """The Reference that a user typed; what was left out is filled in, but for the tag.

    Raises: InvalidParameter in Docker's words.
    """
    if _IDENTIFIER.fullmatch(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, rest = _split_domain(text)
    path = rest.partition(":")[0]
    if path.lower() != path:
        raise InvalidParameter("invalid reference format: repository name must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if match is None:
        raise InvalidParameter("invalid reference format")
    found = Reference(match[1], match[2], match[3] or "", match[4] or "")
    if len(found.name) > NAME_MAX:
        raise InvalidParameter(f"repository name must not be more than {NAME_MAX} characters")
    if found.digest:
        _check_digest(found.digest)
    return found


@lru_cache(maxsize=1024)  # a list of containers asks for each one's image
def parse_any(text: str) -> Reference | str:
    """A Reference, or the digest ("sha256:...") when `text` is a whole image id.

    Raises: InvalidParameter in Docker's words.
    """
    if _IDENTIFIER.fullmatch(text):
        return f"sha256:{text}"
    if is_digest(text):
        return text
    return parse_reference(text)


def is_digest(text: str) -> bool:
    """Whether `text` is a digest of an algorithm that the field uses: lower hex, of the right length."""
    algorithm, _, digits = text.partition(":")
    return len(digits) == _HEX_DIGITS.get(algorithm) and re.fullmatch(r"[0-9a-f]+", digits) is not None


def _check_digest(digest: str) -> None:
    algorithm, _, digits = digest.partition(":")
    if algorithm not in _HEX_DIGITS:
        raise InvalidParameter("unsupported digest algorithm")
    if len(digits) != _HEX_DIGITS[algorithm]:
        raise InvalidParameter("invalid checksum digest length")
    if not is_digest(digest):
        raise InvalidParameter("invalid checksum digest format")


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost"):
        domain, rest = DEFAULT_DOMAIN, text
    else:
        domain = DEFAULT_DOMAIN if first == LEGACY_DOMAIN else first
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = f"{OFFICIAL}/{rest}"
    return domain, rest
