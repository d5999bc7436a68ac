"""What registries tell of images that are not here: a name's descriptor, and searches."""

from lighterman.apitypes.registry import (
    AuthConfig,
    Descriptor,
    DistributionInspect,
    Platform,
    SearchResult,
)
from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.images.image import read_document
from lighterman.lib.filters import Filters
from lighterman.reference import Reference, parse_reference
from lighterman.registry import Fetched, Index, Registry, Repository, parse_manifest

SEARCH_FILTERS = ("is-automated", "is-official", "stars")


async def inspect_distribution(registry: Registry, name: str, auth: AuthConfig | None) -> DistributionInspect:
    """The descriptor behind a name and the platforms it is for.

    Raises: InvalidParameter, NotFound, Unauthorized, System; the registry's own, when no mirror has it.
    """
    reference = parse_reference(name).with_default_tag()
    *mirrors, itself = await registry.endpoints(reference)
    for mirror in mirrors:
        try:
            async with registry.open(reference, auth, mirror) as repository:
                return await _inspected(repository, reference)
        except EngineError:
            continue  # the registry itself will tell why
    async with registry.open(reference, auth, itself) as repository:
        return await _inspected(repository, reference)


async def _inspected(repository: Repository, reference: Reference) -> DistributionInspect:
    fetched = await repository.manifest(reference.digest or reference.tag)
    descriptor = Descriptor(fetched.media_type, fetched.digest, len(fetched.raw))
    return DistributionInspect(descriptor, await _platforms(repository, reference, fetched))


async def _platforms(repository: Repository, reference: Reference, fetched: Fetched) -> list[Platform]:
    found = parse_manifest(fetched.raw, fetched.media_type, familiar=reference.familiar())
    if isinstance(found, Index):
        return [entry.platform or Platform() for entry in found.manifests]
    document = read_document(await repository.blob(found.config))
    return [Platform(document.architecture, document.os, document.variant)]


async def search_registry(
    registry: Registry, term: str, limit: int, filters: Filters, auth: AuthConfig | None
) -> list[SearchResult]:
    """What an index finds, and the filters let through. Raises: InvalidParameter, System."""
    filters.check(SEARCH_FILTERS)
    automated = filters.flag("is-automated", default=False) if "is-automated" in filters else None
    official = filters.flag("is-official", default=False) if "is-official" in filters else None
    stars = max((_stars(value) for value in filters.get("stars")), default=0)
    return [
        one
        for one in await registry.search(term, limit, auth)
        if one.star_count >= stars
        and automated in (None, one.is_automated)
        and official in (None, one.is_official)
    ]


def _stars(value: str) -> int:
    if not value.isdecimal():
        raise InvalidParameter(f"Invalid filter 'stars={value}'")
    return int(value)
