"""What the API shows of images: computed from the store, nothing kept."""

from collections.abc import Sequence

from lighterman.apitypes.container import ContainerConfig
from lighterman.apitypes.image import (
    GraphDriver,
    HistoryItem,
    ImageInspect,
    ImageMetadata,
    ImageSummary,
    RootFS,
)
from lighterman.errdefs import NotFound
from lighterman.images.errors import NoSuchImage
from lighterman.images.image import Image, instant_ns
from lighterman.images.store import Store
from lighterman.lib.filters import Filters
from lighterman.lib.go_time import rfc3339_nano
from lighterman.reference import Reference, familiar_match

LIST_FILTERS = ("before", "dangling", "label", "reference", "since")
DRIVER = "overlay2"
"""The name that clients know for layers on overlayfs."""
_ZERO_S = -62135596800
"""Seconds of Go's zero time."""


def list_images(store: Store, filters: Filters, *, all: bool) -> Sequence[ImageSummary]:
    """Newest first. Raises: InvalidParameter, NoSuchImage (in `before` or `since`)."""
    filters.check(LIST_FILTERS)
    dangling = filters.flag("dangling", default=False) if "dangling" in filters else None
    before = [_created(store.find(ref)) for ref in filters.get("before")]
    since = [_created(store.find(ref)) for ref in filters.get("since")]
    found: list[tuple[int, ImageSummary]] = []
    for image in store:
        created = _created(image)
        if any(created >= limit for limit in before) or any(created <= limit for limit in since):
            continue
        if not filters.labels(image.config.labels):
            continue
        summary = _summary(store, image, filters, dangling=dangling, all=all)
        if summary is not None:
            found.append((created, summary))
    return [summary for _, summary in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _summary(
    store: Store, image: Image, filters: Filters, *, dangling: bool | None, all: bool
) -> ImageSummary | None:
    names = store.references(image.id)
    if patterns := filters.get("reference"):
        names = [name for name in names if any(familiar_match(pattern, name) for pattern in patterns)]
    tags, digests = _tags(names), _digests(names)
    if not names:
        hidden = dangling is False or bool(patterns) or (not all and store.children(image.id))
        if hidden:
            return None
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    elif dangling and tags:
        return None
    return ImageSummary(
        created=_created(image) // 10**9 if image.created_ns is not None else _ZERO_S,
        id=image.id,
        labels=image.config.labels,
        parent_id=image.parent,
        repo_digests=digests or None,
        repo_tags=tags or None,
        size=image.size_bytes,
        virtual_size=image.size_bytes,
    )


def inspect_image(store: Store, ref: str) -> ImageInspect:
    """Everything. Raises: NotFound in the words of inspect, InvalidParameter."""
    try:
        image = store.find(ref)
    except NoSuchImage as error:
        raise NotFound(f"no such image: {ref}: {error}") from error
    names, document = store.references(image.id), image.document
    dirs = dict(store.snapshots.layer_dirs(image.top_chain)) if image.top_chain else None
    return ImageInspect(
        id=image.id,
        repo_tags=_tags(names),
        repo_digests=_digests(names),
        parent=image.parent,
        comment=document.comment or (document.history[-1].comment if document.history else ""),
        created=rfc3339_nano(image.created_ns),
        container=document.container,
        container_config=document.container_config or ContainerConfig(),
        docker_version=document.docker_version,
        author=document.author,
        config=document.config,
        architecture=document.architecture,
        os=image.os,
        size=image.size_bytes,
        virtual_size=image.size_bytes,
        graph_driver=GraphDriver(data=dirs, name=DRIVER),
        root_fs=RootFS(type="layers", layers=list(image.diff_ids) or None),
        metadata=ImageMetadata(last_tag_time=rfc3339_nano(store.tagged_ns(image.id))),
        **_optional(image),
    )


def _optional(image: Image) -> dict[str, str]:
    given = {"variant": image.document.variant, "os_version": image.document.os_version}
    return {key: value for key, value in given.items() if value}


def image_history(store: Store, ref: str) -> Sequence[HistoryItem]:
    """Newest first; only the newest has the image's id and tags. Raises: NoSuchImage, InvalidParameter."""
    image = store.find(ref)
    chain = iter(image.chain)
    items: list[HistoryItem] = []
    for number, step in enumerate(image.document.history, 1):
        chain_id = None if step.empty_layer else next(chain, None)
        layer = store.snapshots.layer(chain_id) if chain_id else None
        created_ns = instant_ns(step.created)
        newest = number == len(image.document.history)
        items.append(
            HistoryItem(
                comment=step.comment,
                created=_ZERO_S if created_ns is None else created_ns // 10**9,
                created_by=step.created_by,
                id=image.id if newest else "<missing>",
                size=layer.size_bytes if layer else 0,
                tags=(_tags(store.references(image.id)) or None) if newest else None,
            )
        )
    return items[::-1]


def _created(image: Image) -> int:
    return _ZERO_S * 10**9 if image.created_ns is None else image.created_ns


def _tags(names: Sequence[Reference]) -> list[str]:
    return [name.familiar() for name in names if not name.digest]


def _digests(names: Sequence[Reference]) -> list[str]:
    return [name.familiar() for name in names if name.digest]
