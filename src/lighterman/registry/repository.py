"""One repository of one registry: manifests and blobs, there and back."""

import hashlib
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct
from yarl import URL

from lighterman.apitypes.registry import Descriptor
from lighterman.content import Download, Upload, Via, finishing_url
from lighterman.reference import Reference, is_digest
from lighterman.registry.errors import RegistryError, refused
from lighterman.registry.manifest import ACCEPTED
from lighterman.registry.session import Response, Session

MANIFEST_MAX = 4 << 20
CHUNK_BYTES = 64 << 20
"""What is sent of a blob at a time: so much is lost with a connection."""
_SAID_MAX = 1 << 20


class _Tags(Struct):
    tags: list[str] | None = None


class Fetched(Struct, frozen=True):
    """A manifest as it came; `digest` is that of its bytes."""

    raw: bytes
    media_type: str
    digest: str


class Repository:
    """One repository, for the length of one operation."""

    def __init__(self, session: Session, reference: Reference, base: str, via: Via) -> None:
        self.reference = reference
        self._session = session
        self._base = base
        self._via = via

    async def log_in(self) -> None:
        """Answer the registry's challenge again. Raises: Unauthorized, System."""
        await self._session.log_in()

    # --- from there ---

    async def manifest(self, tag_or_digest: str) -> Fetched:
        """A manifest or index. Raises: NotFound, Unauthorized, System in Docker's words."""
        accept = {"Accept": ", ".join(ACCEPTED)}
        answer = await self._need("GET", self._url(f"manifests/{tag_or_digest}"), accept, limit=MANIFEST_MAX)
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if is_digest(tag_or_digest) and _digest_of(answer.body, tag_or_digest) != tag_or_digest:
            raise RegistryError(f"manifest verification failed for digest {tag_or_digest}")
        return Fetched(answer.body, answer.headers.get("Content-Type", ""), digest)

    async def blob(self, descriptor: Descriptor) -> bytes:
        """A small blob whole, verified. Raises: as `manifest`."""
        url = self._url(f"blobs/{descriptor.digest}")
        raw = (await self._need("GET", url, {}, limit=descriptor.size)).body
        if len(raw) != descriptor.size or _digest_of(raw, descriptor.digest) != descriptor.digest:
            raise RegistryError(f"image config verification failed for digest {descriptor.digest}")
        return raw

    async def tags(self) -> list[str]:
        """All tags of the repository. Raises: as `manifest`."""
        answer = await self._need("GET", self._url("tags/list"), {}, limit=MANIFEST_MAX)
        try:
            return msgspec.json.decode(answer.body, type=_Tags).tags or []
        except msgspec.DecodeError as error:
            raise RegistryError(f"unable to decode the list of tags: {error}") from error

    def download(self, digest: str, *, attempts: int) -> Download:
        """What a worker needs to get a blob, credentials of now included."""
        return Download(self._url(f"blobs/{digest}"), self._session.headers, self._via, attempts)

    # --- to there ---

    async def has_blob(self, digest: str) -> bool:
        """Whether the repository has it already. Raises: Unauthorized, System."""
        url = self._url(f"blobs/{digest}")
        answer = await self._session.request("HEAD", url, {}, limit=0)
        if answer.status not in (200, 404):
            raise self._refused(answer)
        return answer.status == 200

    async def mount_blob(self, digest: str, source: str) -> bool:
        """Take a blob over from another repository of the same registry; whether it could. Raises: System."""
        query = {"mount": digest, "from": source}
        scope = f"repository:{source}:pull"
        headers = {}
        if authorization := await self._session.authorization([scope]):
            headers["Authorization"] = authorization
        url = str(URL(self._url("blobs/uploads/")).with_query(query))
        answer = await self._session.once("POST", url, headers, limit=_SAID_MAX)
        if answer.status == 202 and (place := answer.headers.get("Location")):
            # it began an upload instead, which nobody will finish
            await self._session.request("DELETE", urljoin(url, place), {}, limit=_SAID_MAX)
        return answer.status == 201

    async def upload(self, digest: str, size: int, *, chunked: bool) -> Upload:
        """Begin an upload: what a worker needs to send the blob. Raises: NotFound, Unauthorized, System."""
        url, least = await self._begun_upload()
        same_host = URL(url).origin() == URL(self._base).origin()
        return Upload(
            url,
            digest,
            size,
            max(CHUNK_BYTES, least) if chunked else 0,
            self._session.headers if same_host else {},
            self._via if same_host else Via(self._via.verify_tls),
        )

    async def put_blob(self, digest: str, data: bytes) -> None:
        """Send a small blob. Raises: as `upload`."""
        url, _ = await self._begun_upload()
        headers = {"Content-Type": "application/octet-stream"}
        answer = await self._session.request(
            "PUT", finishing_url(url, digest), headers, limit=_SAID_MAX, body=data
        )
        if answer.status != 201:
            raise self._refused(answer)

    async def put_manifest(self, tag: str, media_type: str, raw: bytes) -> None:
        """Let `tag` name an image whose blobs are all there. Raises: as `upload`."""
        url = self._url(f"manifests/{tag}")
        answer = await self._session.request(
            "PUT", url, {"Content-Type": media_type}, limit=_SAID_MAX, body=raw
        )
        if answer.status not in (200, 201, 202):
            raise self._refused(answer)

    # --- inside ---

    async def _begun_upload(self) -> tuple[str, int]:
        """The place of a new upload, and the bytes that a chunk must have there at least."""
        url = self._url("blobs/uploads/")
        answer = await self._session.request("POST", url, {}, limit=_SAID_MAX)
        place = answer.headers.get("Location")
        if answer.status != 202 or not place:
            raise self._refused(answer)
        place = urljoin(url, place)
        parts = urlsplit(place)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError(f'Put "{place}": unsupported protocol scheme "{parts.scheme}"')
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        return place, int(least) if least.isdecimal() else 0

    async def _need(self, method: str, url: str, headers: Mapping[str, str], *, limit: int) -> Response:
        answer = await self._session.request(method, url, headers, limit=limit)
        if answer.status != 200:
            raise self._refused(answer)
        return answer

    def _refused(self, answer: Response) -> Exception:
        return refused(answer.status, answer.reason, answer.body, self.reference)

    def _url(self, rest: str) -> str:
        return f"{self._base}/v2/{self.reference.path}/{rest}"


def _digest_of(raw: bytes, like: str) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
