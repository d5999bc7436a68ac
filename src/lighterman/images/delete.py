"""Taking names and images away.

Two kinds of conflict: a *hard* one (a running container, an image made from this one) is never overruled, a
*soft* one (a stopped container, other names) gives way to force. Source: rules, order and texts of dockerd
20.10.24, ImageDelete.
"""

import time
from collections.abc import Sequence

from lighterman.apitypes.image import ImageDeleted, ImagesPruned
from lighterman.errdefs import Conflict, InvalidParameter, NotFound
from lighterman.images.image import Image, short
from lighterman.images.store import Store
from lighterman.lib.filters import Filters
from lighterman.reference import Reference, parse_reference

PRUNE_FILTERS = ("dangling", "label", "label!", "until")


async def delete_image(store: Store, ref: str, *, force: bool, noprune: bool) -> list[ImageDeleted]:
    """Untag, and delete with the last name. Raises: NoSuchImage, Conflict, InvalidParameter."""
    if not ref.strip():
        raise InvalidParameter("image name cannot be blank")
    image = store.find(ref)
    names = store.references(image.id)
    done: list[ImageDeleted] = []
    if not _is_prefix(image.id, ref):
        if not force and _is_single(names) and (users := store.users(image.id)):
            raise Conflict(
                f'conflict: unable to remove repository reference "{ref}" (must force) - container '
                f"{short(users[0].container_id)} is using its referenced image {short(image.id)}"
            )
        left = await _untag(store, image, parse_reference(ref).with_default_tag(), done)
        if left:
            return done
        quiet = True
    else:
        quiet = False
        if _is_single(names):
            if conflict := _conflict(store, image, force=force, names_count=False):
                raise conflict
            await store.untag(names)
            for name in names:
                done.append(_untagged(store, image, name))
    await _delete(store, image, done, force=force, prune=not noprune, quiet=quiet)
    return done


async def _untag(store: Store, image: Image, name: Reference, done: list[ImageDeleted]) -> list[Reference]:
    """Take one name away, and digests that had no meaning but through it. The names that are left."""
    if name.digest:
        name = name.repository().with_digest(name.digest)
    await store.untag([name])
    done.append(_untagged(store, image, name))
    left = store.references(image.id)
    if name.digest or any(other.name == name.name and not other.digest for other in left):
        return left
    orphans = [other for other in left if other.name == name.name]
    if orphans:
        await store.untag(orphans)
        done.extend(ImageDeleted(untagged=orphan.familiar()) for orphan in orphans)
    return [other for other in left if other not in orphans]


async def _delete(
    store: Store, image: Image, done: list[ImageDeleted], *, force: bool, prune: bool, quiet: bool
) -> None:
    if conflict := _conflict(store, image, force=force, names_count=True):
        dangling = not store.references(image.id) and not store.children(image.id)
        used = bool(store.users(image.id))
        if quiet and (not dangling or used):
            return
        raise conflict
    names = store.references(image.id)
    if names:
        await store.untag(names)
        done.extend(_untagged(store, image, name) for name in names)
    gone = await store.drop(image.id)
    done.append(ImageDeleted(deleted=image.id))
    done.extend(ImageDeleted(deleted=chain_id) for chain_id in gone)
    parent = store.get(image.parent) if prune else None
    if parent is not None:
        await _delete(store, parent, done, force=False, prune=True, quiet=True)


def _conflict(store: Store, image: Image, *, force: bool, names_count: bool) -> Conflict | None:
    if store.held[image.id]:
        return _unable(image, "cannot be forced", "image is being used by a running build")
    users = store.users(image.id)
    running = next((user for user in users if user.running), None)
    if store.children(image.id):
        return _unable(image, "cannot be forced", "image has dependent child images")
    if running is not None:
        what = f"image is being used by running container {short(running.container_id)}"
        return _unable(image, "cannot be forced", what)
    if force:
        return None
    if names_count and store.references(image.id):
        return _unable(image, "must be forced", "image is referenced in multiple repositories")
    if users:
        what = f"image is being used by stopped container {short(users[0].container_id)}"
        return _unable(image, "must be forced", what)
    return None


def _unable(image: Image, hope: str, reason: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {short(image.id)} ({hope}) - {reason}")


def _untagged(store: Store, image: Image, name: Reference) -> ImageDeleted:
    store.tell("untag", image.id, image.id)
    return ImageDeleted(untagged=name.familiar())


def _is_prefix(image_id: str, ref: str) -> bool:
    return image_id.startswith(ref) or image_id.removeprefix("sha256:").startswith(ref)


def _is_single(names: Sequence[Reference]) -> bool:
    """Whether all names are of one repository, with one tag at most."""
    repositories = {name.name for name in names}
    return len(repositories) == 1 and sum(not name.digest for name in names) <= 1


async def prune_images(store: Store, filters: Filters) -> ImagesPruned:
    """Remove images that no container uses: untagged ones, with dangling=false all.

    Raises: InvalidParameter.
    """
    filters.check(PRUNE_FILTERS)
    dangling_only = filters.flag("dangling", default=True)
    until_ns = filters.until_ns(time.time_ns())
    done: list[ImageDeleted] = []
    before = {chain_id: layer for image in store for chain_id, layer in _sizes(store, image)}
    for image in store:
        names = store.references(image.id)
        if not names and store.children(image.id):
            continue
        if not filters.prunes(image.config.labels, created_ns=image.created_ns or 0, until_ns=until_ns):
            continue
        if dangling_only and any(not name.digest for name in names):
            continue
        for ref in [str(name) for name in names] or [image.id]:
            try:
                done += await delete_image(store, ref, force=False, noprune=False)
            except (Conflict, NotFound):
                continue  # it is used, or went with a name before
    reclaimed = sum(before.get(item.deleted, 0) for item in done)
    store.tell_pruned(reclaimed)
    return ImagesPruned(images_deleted=done or None, space_reclaimed=reclaimed)


def _sizes(store: Store, image: Image) -> list[tuple[str, int]]:
    layers = [(chain_id, store.snapshots.layer(chain_id)) for chain_id in image.chain]
    return [(chain_id, layer.size_bytes) for chain_id, layer in layers if layer]
