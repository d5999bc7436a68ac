"""The room's one service: a door to the verbs beside it."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING

from lighterman import __version__
from lighterman.apitypes.image import (
    HistoryItem,
    ImageDeleted,
    ImageInspect,
    ImagesPruned,
    ImageSummary,
    Progress,
    failure,
)
from lighterman.apitypes.registry import AuthConfig, DistributionInspect, Platform, SearchResult
from lighterman.content import Content, Workers
from lighterman.db import Database
from lighterman.errdefs import EngineError, NotFound
from lighterman.events import Events
from lighterman.images.commit import Committer, CommitWish
from lighterman.images.delete import delete_image, prune_images
from lighterman.images.distribution import inspect_distribution, search_registry
from lighterman.images.image import Image
from lighterman.images.layers import Layers, Lease
from lighterman.images.limits import Limits
from lighterman.images.load import ImportWish, Loader
from lighterman.images.pull import Puller, PullWish, pulled_reference
from lighterman.images.push import Pusher
from lighterman.images.save import save_images, wanted_images
from lighterman.images.steps import Steps
from lighterman.images.store import Store, Users
from lighterman.images.view import image_history, inspect_image, list_images, usage
from lighterman.lib.filters import Filters
from lighterman.reference import Reference, parse_reference
from lighterman.registry import (
    Emit,
    Registry,
    format_platform,
    normalized,
    parse_platform,
    runs_on,
    status,
    stream,
)
from lighterman.snapshots import Snapshots

if TYPE_CHECKING:
    from lighterman.images.adopt import Adopted, Offered


class Images:
    """Images of one engine."""

    def __init__(self, store: Store, layers: Layers, registry: Registry, workers: Workers) -> None:
        self._store = store
        self._host = normalized(Platform(os.uname().machine, "linux"))
        self._layers, self._workers = layers, workers
        self._puller = Puller(store, layers, registry, workers, self._host)
        self._pusher = Pusher(store, layers, registry, workers)
        self._registry = registry
        self._committer = Committer(store, layers, workers, __version__)
        self.steps = Steps(store, layers, workers, __version__)
        self._loader = Loader(store, layers, workers, self._host, __version__)

    @classmethod
    async def open(
        cls,
        *,
        db: Database,
        events: Events,
        content: Content,
        snapshots: Snapshots,
        workers: Workers,
        registry: Registry,
        users: Users,
        limits: Limits = Limits(),  # noqa: B008 it is frozen
    ) -> "Images":
        """The images of the rows; those whose layers are gone are dropped."""
        store = Store(db, events, snapshots, users)
        await store.load()
        images = cls(store, Layers(content, store), registry, workers)
        images.limit(limits)
        return images

    def lease(self, chain: Sequence[str]) -> AbstractAsyncContextManager[Lease]:
        """A hold on layers, by chain id, that keeps them until somebody stands on them; see `layers`."""
        return self._layers.lease(chain)

    def limit(self, limits: Limits) -> None:
        """How much is transferred at a time, for what begins from now on."""
        self._layers.limit(limits)
        self._pusher.limit(limits)

    def find(self, ref: str, *, platform: str = "") -> Image:
        """The image with this id, name, name:tag, name@digest or id prefix; for `platform`, if one is named.

        Raises: NoSuchImage, NotFound (it is for another platform), InvalidParameter (no reference at all).
        """
        image = self._store.find(ref)
        if platform:
            wanted = parse_platform(platform, host=self._host)
            actual = Platform(image.architecture, image.os, image.variant)
            if not runs_on(actual, wanted):
                raise NotFound(
                    f"image with reference {ref} was found but does not match the specified platform: "
                    f"wanted {format_platform(wanted)}, actual: {format_platform(actual)}"
                )
        return image

    def foreign(self, image: Image) -> str:
        """What to warn of, if the image is made for machines of another kind than this one; else ""."""
        meant = Platform(image.architecture or self._host.architecture, image.os, image.variant)
        if runs_on(meant, self._host):
            return ""
        return (
            f"The requested image's platform ({format_platform(meant)}) does not match the detected host "
            f"platform ({format_platform(self._host)}) and no specific platform was requested"
        )

    def __iter__(self) -> Iterator[Image]:
        return iter(self._store)

    def lineage(self, image_id: str) -> Iterator[str]:
        """The image's id and the ids of those that it was made from on this host, as far as they are here."""
        while image_id:
            yield image_id
            image = self._store.get(image_id)
            image_id = image.parent if image else ""

    def names(self, image_id: str) -> Sequence[Reference]:
        """What an image is called, in the order of the names."""
        return self._store.references(image_id)

    @property
    def host_platform(self) -> Platform:
        """What this host runs."""
        return self._host

    def __len__(self) -> int:
        """How many images there are (`Images` of /info)."""
        return len(self._store)

    def list(
        self, filters: Filters, *, all: bool = False, shared_size: bool = False
    ) -> Sequence[ImageSummary]:
        """Newest first, with digests whether they were asked for or not, as dockerd does.

        Raises: InvalidParameter for a filter that is unknown or wrong, NoSuchImage.
        """
        return list_images(self._store, filters, all=all, shared_size=shared_size)

    def usage(self) -> tuple[int, Sequence[ImageSummary]]:
        """The bytes of all layers, and the images with their shared bytes and numbers of containers."""
        return usage(self._store)

    def inspect(self, ref: str) -> ImageInspect:
        """Raises: NotFound, in the words of inspect; InvalidParameter."""
        return inspect_image(self._store, ref)

    def history(self, ref: str) -> Sequence[HistoryItem]:
        """Newest first. Raises: NoSuchImage, InvalidParameter."""
        return image_history(self._store, ref)

    async def pull(
        self, name: str, tag: str = "", *, platform: str = "", auth: AuthConfig | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Get an image from its registry. `name` may have a tag or digest; `tag` may be a digest.

        Awaited until the manifest is here: what fails before raises (NotFound, Unauthorized, System,
        InvalidParameter); what fails after is the stream's last message. Closing the stream ends the pull.
        """
        wanted = parse_platform(platform, host=self._host) if platform else None
        wish = PullWish(pulled_reference(name, tag), wanted, auth)

        async def work(emit: Emit) -> None:
            await self._puller.pull(wish, emit)

        return await stream(work)

    async def import_(self, source: AsyncIterator[bytes], wish: ImportWish) -> AsyncGenerator[Progress, None]:
        """Make an image of the tar of a root file system. Awaited until it is there; one message: its id.

        Raises: InvalidParameter, System; then nothing is left.
        """

        async def work(emit: Emit) -> None:
            emit(status(await self._loader.import_(source, wish)))

        return await stream(work)

    async def import_url(self, url: str, wish: ImportWish) -> AsyncGenerator[Progress, None]:
        """The same of a tar that lies elsewhere. Awaited until it is found there.

        Raises: InvalidParameter, NotFound, System; what fails later is the last message.
        """

        async def work(emit: Emit) -> None:
            await self._loader.import_url(url if "://" in url else f"http://{url}", wish, emit)

        return await stream(work)

    async def load(
        self, archive: AsyncIterator[bytes], *, quiet: bool = False
    ) -> AsyncGenerator[Progress, None]:
        """Add the images of an archive (`docker save` or OCI layout), plain or compressed.

        What fails is the stream's last message, even when it is the first.
        """

        async def work(emit: Emit) -> None:
            await self._loader.load(archive, emit, quiet=quiet)

        try:
            messages = await stream(work)
        except EngineError as error:
            yield failure(str(error))
            return
        async with aclosing(messages):
            async for message in messages:
                yield message

    async def push(
        self, name: str, tag: str = "", *, auth: AuthConfig | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Send an image, or with neither tag all of a repository, to its registry.

        Raises: InvalidParameter; what fails after the first message is the stream's last one.
        """
        reference = parse_reference(name)
        if tag:
            reference = reference.repository().with_tag(tag)

        async def work(emit: Emit) -> None:
            await self._pusher.push(reference, auth, emit)

        return await stream(work)

    async def log_in(self, auth: AuthConfig) -> str:
        """Prove credentials to their registry; its identity token or "". Raises: Unauthorized, System."""
        return await self._registry.log_in(auth)

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: AuthConfig | None = None
    ) -> Sequence[SearchResult]:
        """What a registry's index finds. Raises: InvalidParameter, System."""
        return await search_registry(self._registry, term, limit, filters, auth)

    async def distribution(self, name: str, *, auth: AuthConfig | None = None) -> DistributionInspect:
        """What a registry has under a name. Raises: InvalidParameter, NotFound, Unauthorized, System."""
        return await inspect_distribution(self._registry, name, auth)

    async def adopt(self, offered: "Offered") -> "Adopted":
        """Take over an image of another engine of this host. Idempotent. Raises: InvalidParameter, System."""
        from lighterman.images.adopt import adopt  # an engine that serves never does

        return await adopt(self._store, self._layers, self._workers, offered)

    def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """The archive of images by name or id; a repository is meant with all its tags.

        Raises: NotFound, InvalidParameter, System, before anything comes of it.
        """
        return save_images(self._store, self._layers, self._workers, wanted_images(self._store, names))

    async def commit(self, wish: CommitWish, name: Reference | None) -> Image:
        """Make an image of a writable layer, and give it a name. Raises: NoSuchImage, System."""
        image = await self._committer.commit(wish)
        if name is not None:
            await self._store.tag(image, name)
        return image

    async def tag(self, ref: str, repo: str, tag: str = "") -> None:
        """Let `repo:tag` name this image too. Raises: NoSuchImage, InvalidParameter."""
        image = self._store.find(ref)
        await self._store.tag(image, tagged_reference(repo, tag))

    async def delete(self, ref: str, *, force: bool = False, noprune: bool = False) -> Sequence[ImageDeleted]:
        """Take a name away; with the last name the image. Raises: NoSuchImage, Conflict, InvalidParameter."""
        return await delete_image(self._store, ref, force=force, noprune=noprune)

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Remove what no container uses: dangling images only, unless dangling=false."""
        return await prune_images(self._store, filters)


def tagged_reference(repo: str, tag: str) -> Reference:
    """What `repo` and `tag` of a request mean together. Raises: InvalidParameter."""
    reference = parse_reference(repo)
    return (reference.repository().with_tag(tag) if tag else reference).with_default_tag()
