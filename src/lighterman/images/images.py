"""The room's one service."""

from collections.abc import AsyncIterator, Callable, Sequence

from lighterman.apitypes.image import (
    HistoryItem,
    ImageDeleted,
    ImageInspect,
    ImagesPruned,
    ImageSummary,
    Progress,
)
from lighterman.apitypes.registry import AuthConfig
from lighterman.content import Content
from lighterman.db import Database
from lighterman.events import Events
from lighterman.images.image import Image, ImageUser
from lighterman.lib.filters import Filters
from lighterman.registry import Registry
from lighterman.snapshots import Snapshots

Users = Callable[[str], Sequence[ImageUser]]
"""The containers made from an image id; handed in by the wiring."""


class Images:
    """Images of one engine."""

    @classmethod
    async def open(
        cls,
        *,
        db: Database,
        events: Events,
        content: Content,
        snapshots: Snapshots,
        registry: Registry,
        users: Users,
    ) -> "Images":
        """The images of the rows; those whose layers are gone are dropped."""
        raise NotImplementedError

    def find(self, ref: str) -> Image:
        """The image with this id, id prefix, name, name:tag or name@digest. Raises: NoSuchImage."""
        raise NotImplementedError

    def __len__(self) -> int:
        """How many images there are (`Images` of /info)."""
        raise NotImplementedError

    def list(self, filters: Filters, *, all: bool = False, digests: bool = False) -> Sequence[ImageSummary]:
        """Newest first. Raises: InvalidParameter for a filter that is unknown or wrong."""
        raise NotImplementedError

    def inspect(self, ref: str) -> ImageInspect:
        """Raises: NotFound, in the words of inspect."""
        raise NotImplementedError

    def history(self, ref: str) -> Sequence[HistoryItem]:
        """Newest first. Raises: NoSuchImage."""
        raise NotImplementedError

    async def pull(
        self, name: str, tag: str = "", *, platform: str = "", auth: AuthConfig | None = None
    ) -> AsyncIterator[Progress]:
        """Get an image from its registry. `name` may have a tag or digest; `tag` may be a digest.

        Awaited until the manifest is here: what fails before raises (NotFound, Unauthorized, System,
        InvalidParameter); what fails after is the stream's last message.
        """
        raise NotImplementedError

    async def import_(
        self,
        stream: AsyncIterator[bytes],
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> AsyncIterator[Progress]:
        """Make an image of one tar of a root file system. Awaited until it is done; then one message."""
        raise NotImplementedError

    def load(self, stream: AsyncIterator[bytes], *, quiet: bool = False) -> AsyncIterator[Progress]:
        """Add the images of an archive (`docker save` or OCI layout). Errors are the last message."""
        raise NotImplementedError

    async def tag(self, ref: str, repo: str, tag: str = "") -> None:
        """Let `repo:tag` name this image too. Raises: NoSuchImage, InvalidParameter."""
        raise NotImplementedError

    async def delete(self, ref: str, *, force: bool = False, noprune: bool = False) -> Sequence[ImageDeleted]:
        """Take a name away; with the last name the image. Raises: NoSuchImage, Conflict."""
        raise NotImplementedError

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Remove what no container uses: dangling images only, unless dangling=false."""
        raise NotImplementedError
