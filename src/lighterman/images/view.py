"""What the API shows of images: computed from the store, nothing kept."""

from collections import Counter
from collections.abc import Sequence

from msgspec import UNSET, structs

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


def list_images(
    store: Store, filters: Filters, *, all: bool, shared_size: bool = False
) -> Sequence[ImageSummary]:
    """Newest first; with the bytes that each shares with others here, if they are wished for.

    Raises: InvalidParameter, NoSuchImage (in `before` or `since`).
    """
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
    newest = [summary for _, summary in sorted(found, key=lambda pair: pair[0], reverse=True)]
    return with_shared_sizes(store, newest) if shared_size else newest


def with_shared_sizes(store: Store, summaries: Sequence[ImageSummary]) -> Sequence[ImageSummary]:
    """The same; each tells the bytes of its layers that another one of them has too."""
    shown = [(summary, image) for summary in summaries if (image := store.get(summary.id)) is not None]
    having = Counter(chain_id for _, image in shown for chain_id in image.chain)
    return [
        structs.replace(
            summary,
            shared_size=sum(
                layer.size_bytes
                for chain_id in image.chain
                if having[chain_id] > 1 and (layer := store.snapshots.layer(chain_id)) is not None
            ),
        )
        for summary, image in shown
    ]


def usage(store: Store) -> tuple[int, Sequence[ImageSummary]]:
    """The bytes of all layers, and the images with what they share and how many containers they have.

    Everything is counted when layers come and go; nothing on disk is looked at.
    """
    layers = (store.snapshots.layer(chain_id) for chain_id in store.snapshots.layer_ids())
    total = sum(layer.size_bytes for layer in layers if layer is not None)
    shown = list_images(store, Filters(), all=False, shared_size=True)
    return total, [structs.replace(one, containers=len(store.users(one.id))) for one in shown]


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
    elif dangling and tags:
        return None
    return ImageSummary(
        created=_created(image) // 10**9 if image.created_ns is not None else _ZERO_S,
        id=image.id,
        labels=image.config.labels,
        parent_id=image.parent,
        repo_digests=digests,
        repo_tags=tags,
        size=image.size_bytes,
    )


def inspect_image(store: Store, ref: str) -> ImageInspect:
    """Everything. Raises: NotFound in the words of inspect, InvalidParameter."""
    try:
        image = store.find(ref)
    except NoSuchImage as error:
        raise NotFound(f"no such image: {ref}: {error}") from error
    names, document = store.references(image.id), image.document
    dirs = dict(store.snapshots.layer_dirs(image.top_chain)) if image.top_chain else None
    variant, os_version = document.variant or UNSET, document.os_version or UNSET
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
        graph_driver=GraphDriver(data=dirs, name=DRIVER),
        root_fs=RootFS(type="layers", layers=list(image.diff_ids) or None),
        metadata=ImageMetadata(last_tag_time=rfc3339_nano(store.tagged_ns(image.id))),
        variant=variant,
        os_version=os_version,
    )


def image_history(store: Store, ref: str) -> Sequence[HistoryItem]:
    """Newest first; ids and tags are those of the images that were made here on the way to this one.

    Raises: NoSuchImage, InvalidParameter.
    """
    image = store.find(ref)
    chain, ids = iter(image.chain), _ids_of_steps(store, image)
    items: list[HistoryItem] = []
    for step, image_id in zip(image.document.history, reversed(ids), strict=True):
        chain_id = None if step.empty_layer else next(chain, None)
        layer = store.snapshots.layer(chain_id) if chain_id else None
        created_ns = instant_ns(step.created)
        items.append(
            HistoryItem(
                comment=step.comment,
                created=_ZERO_S if created_ns is None else created_ns // 10**9,
                created_by=step.created_by,
                id=image_id or "<missing>",
                size=layer.size_bytes if layer else 0,
                tags=(_tags(store.references(image_id)) or None) if image_id else None,
            )
        )
    return items[::-1]


def _ids_of_steps(store: Store, image: Image) -> list[str]:
    """The image that each item of a history belongs to, newest first; "" where it is not here."""
    ids = [""] * len(image.document.history)
    current: Image | None = image
    for place in range(len(ids)):
        if current is None:
            break
        ids[place] = current.id
        current = store.get(current.parent) if current.parent else None
    return ids


def _created(image: Image) -> int:
    return _ZERO_S * 10**9 if image.created_ns is None else image.created_ns


def _tags(names: Sequence[Reference]) -> list[str]:
    return [name.familiar() for name in names if not name.digest]


def _digests(names: Sequence[Reference]) -> list[str]:
    return [name.familiar() for name in names if name.digest]
