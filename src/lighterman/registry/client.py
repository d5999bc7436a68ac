"""A client of registries: one `Repository` per operation, with its own connections and credentials."""

import asyncio
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from msgspec import Struct
from multidict import CIMultiDictProxy
from yarl import URL

from lighterman.apitypes.registry import AuthConfig, Descriptor
from lighterman.content import Download
from lighterman.errdefs import System, Unauthorized
from lighterman.lib.go_net import request_error
from lighterman.reference import Reference, is_digest
from lighterman.registry.auth import Challenge, basic, credentials, parse_challenges
from lighterman.registry.errors import RegistryError, refused
from lighterman.registry.manifest import ACCEPTED

MANIFEST_MAX = 4 << 20
TOKEN_MAX = 1 << 20
TRIES = 3
FIRST_DELAY_S = 0.2
_TIMEOUT = ClientTimeout(total=None, sock_connect=30, sock_read=60)
_HOSTS = {"docker.io": "registry-1.docker.io"}
_CLIENT_ID = "lighterman"


class _Token(Struct):
    token: str = ""
    access_token: str = ""


class _Tags(Struct):
    tags: list[str] | None = None


@dataclass(frozen=True)
class Fetched:
    """A manifest as it came; `digest` is that of its bytes."""

    raw: bytes
    media_type: str
    digest: str


class Registry:
    """How this engine talks to registries; it holds no connection and no credentials.

    `insecure` are networks or hosts (`host`, `host:port`) whose certificate need not be right and that may
    speak plain HTTP.
    """

    def __init__(self, *, insecure: Sequence[str] = ("127.0.0.0/8", "::1/128")) -> None:
        self._networks = [ipaddress.ip_network(entry) for entry in insecure if "/" in entry]
        self._hosts = {entry for entry in insecure if "/" not in entry}

    @asynccontextmanager
    async def open(
        self, reference: Reference, auth: AuthConfig | None, *, actions: str = "pull"
    ) -> AsyncIterator["Repository"]:
        """The repository of `reference`, spoken to and, where it asks for it, logged in to.

        Raises: System with Docker's text when nobody answers, Unauthorized.
        """
        host = _HOSTS.get(reference.domain, reference.domain)
        insecure = self.is_insecure(host)
        async with ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as http:
            repository = Repository(http, reference, auth, actions, verify_tls=not insecure)
            await repository.connect([f"https://{host}", *([f"http://{host}"] if insecure else [])])
            yield repository

    def is_insecure(self, host: str) -> bool:
        """Whether `host` (with its port, if it has one) is one of the insecure ones."""
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if host in self._hosts or name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address("127.0.0.1" if name == "localhost" else name.strip("[]"))
        except ValueError:
            return False
        return any(address in network for network in self._networks if network.version == address.version)


class Repository:
    """One repository of one registry, for the length of one operation."""

    def __init__(
        self,
        http: ClientSession,
        reference: Reference,
        auth: AuthConfig | None,
        actions: str,
        *,
        verify_tls: bool,
    ) -> None:
        self.reference = reference
        self._http = http
        self._auth = auth
        self._actions = actions
        self._verify_tls = verify_tls
        self._base = ""
        self._challenges: list[Challenge] = []
        self._authorization = ""

    async def connect(self, bases: Sequence[str]) -> None:
        """Find the first of `bases` that speaks the protocol, and log in where it wants that."""
        for number, base in enumerate(bases, 1):
            try:
                answer = await self._get(f"{base}/v2/", {}, limit=TOKEN_MAX)
            except RegistryError:
                if number == len(bases):
                    raise
                continue
            self._base = base
            if answer.status == 401:
                self._challenges = _challenges(answer)
                await self.log_in()
            elif answer.status != 200:
                raise refused(answer.status, answer.reason, answer.body, self.reference)
            return

    async def manifest(self, tag_or_digest: str) -> Fetched:
        """A manifest or index. Raises: NotFound, Unauthorized, System in Docker's words."""
        url = f"{self._base}/v2/{self.reference.path}/manifests/{tag_or_digest}"
        media_type, raw = await self._fetch(url, {"Accept": ", ".join(ACCEPTED)}, limit=MANIFEST_MAX)
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if is_digest(tag_or_digest) and _digest_of(raw, tag_or_digest) != tag_or_digest:
            raise RegistryError(f"manifest verification failed for digest {tag_or_digest}")
        return Fetched(raw, media_type, digest)

    async def blob(self, descriptor: Descriptor) -> bytes:
        """A small blob whole, verified. Raises: as `manifest`."""
        url = self._blob_url(descriptor.digest)
        _, raw = await self._fetch(url, {}, limit=descriptor.size)
        if len(raw) != descriptor.size or _digest_of(raw, descriptor.digest) != descriptor.digest:
            raise RegistryError(f"image config verification failed for digest {descriptor.digest}")
        return raw

    async def tags(self) -> list[str]:
        """All tags of the repository. Raises: as `manifest`."""
        url = f"{self._base}/v2/{self.reference.path}/tags/list"
        _, raw = await self._fetch(url, {}, limit=MANIFEST_MAX)
        try:
            return msgspec.json.decode(raw, type=_Tags).tags or []
        except msgspec.DecodeError as error:
            raise RegistryError(f"unable to decode the list of tags: {error}") from error

    def download(self, digest: str) -> Download:
        """What a worker needs to get a blob, credentials of now included."""
        return Download(self._blob_url(digest), self._headers(), self._verify_tls)

    async def log_in(self) -> None:
        """Answer the registry's challenge (again: tokens last for minutes).

        Raises: Unauthorized, System. Without credentials a registry that wants a password is asked
        without one, and says itself what it thinks of that.
        """
        for challenge in self._challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                self._authorization = f"Bearer {await self._token(challenge)}"
                return
            if challenge.scheme == "basic":
                if pair := credentials(self._auth):
                    self._authorization = basic(*pair)
                return

    async def _token(self, challenge: Challenge) -> str:
        if self._auth is not None and self._auth.registrytoken:
            return self._auth.registrytoken
        scope = f"repository:{self.reference.path}:{self._actions}"
        query = {"scope": scope}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        realm = challenge.parameters["realm"]
        if self._auth is not None and self._auth.identitytoken:
            form = query | {
                "grant_type": "refresh_token",
                "refresh_token": self._auth.identitytoken,
                "client_id": _CLIENT_ID,
            }
            answer = await self._request("POST", realm, {}, form=form, limit=TOKEN_MAX)
        else:
            pair = credentials(self._auth)
            headers = {"Authorization": basic(*pair)} if pair else {}
            url = str(URL(realm).update_query(query))
            answer = await self._get(url, headers, limit=TOKEN_MAX)
        if answer.status == 401:
            raise Unauthorized("unauthorized: incorrect username or password")
        if answer.status != 200:
            raise refused(answer.status, answer.reason, answer.body, self.reference)
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
        except msgspec.DecodeError as error:
            raise RegistryError(f"unable to decode token response: {error}") from error
        if not (token.token or token.access_token):
            raise RegistryError("authorization server did not include a token in the response")
        return token.token or token.access_token

    def _blob_url(self, digest: str) -> str:
        return f"{self._base}/v2/{self.reference.path}/blobs/{digest}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    async def _fetch(self, url: str, headers: dict[str, str], *, limit: int) -> tuple[str, bytes]:
        """Content type and body. Logs in once more when it must, tries again what may pass."""
        delay_s = FIRST_DELAY_S
        for attempt in range(1, TRIES + 1):
            answer = await self._get(url, headers | self._headers(), limit=limit)
            if answer.status == 200:
                return answer.headers.get("Content-Type", ""), answer.body
            if answer.status == 401 and attempt == 1:
                self._challenges = _challenges(answer) or self._challenges
                if self._lacks_password():
                    raise System(f'Get "{url}": no basic auth credentials')
                await self.log_in()
            elif attempt < TRIES and (answer.status >= 500 or answer.status == 429):
                await asyncio.sleep(delay_s)
                delay_s *= 2
            else:
                break
        raise refused(answer.status, answer.reason, answer.body, self.reference)

    def _lacks_password(self) -> bool:
        schemes = {challenge.scheme for challenge in self._challenges}
        return schemes == {"basic"} and credentials(self._auth) is None

    async def _get(self, url: str, headers: dict[str, str], *, limit: int) -> "_Answer":
        return await self._request("GET", url, headers, form=None, limit=limit)

    async def _request(
        self, method: str, url: str, headers: dict[str, str], *, form: dict[str, str] | None, limit: int
    ) -> "_Answer":
        # on a redirect to another host aiohttp leaves Authorization out
        try:
            async with self._http.request(
                method, url, headers=headers, data=form, ssl=self._verify_tls
            ) as response:
                body = await response.content.read(limit + 1)
                while len(body) <= limit and (more := await response.content.read(limit + 1 - len(body))):
                    body += more
                if len(body) > limit:
                    raise RegistryError(f'{method.capitalize()} "{url}": more than {limit} bytes came')
                return _Answer(response.status, response.reason or "", response.headers, body)
        except (ClientError, OSError) as error:
            target = URL(url)
            text = request_error(method, url, target.host or "", target.port or 0, _cause(error))
            raise RegistryError(text) from error


@dataclass(frozen=True)
class _Answer:
    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    body: bytes


def _challenges(answer: _Answer) -> list[Challenge]:
    return parse_challenges(answer.headers.getall("WWW-Authenticate", []))


def _cause(error: BaseException) -> BaseException:
    """What is behind aiohttp's own error."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error


def _digest_of(raw: bytes, like: str) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
