"""The operations of a registry: repositories to pull from and push to, logins, searches."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from aiohttp import ClientSession, ClientTimeout

from lighterman.apitypes.registry import AuthConfig, SearchResult
from lighterman.content import BadCertificates, Via, tls_context
from lighterman.errdefs import InvalidParameter, System, Unauthorized
from lighterman.lib.effects import in_thread
from lighterman.reference import DEFAULT_DOMAIN, Reference
from lighterman.registry.agent import user_agent
from lighterman.registry.endpoints import CERTS_D, Endpoint, Endpoints
from lighterman.registry.errors import RegistryError
from lighterman.registry.repository import Repository
from lighterman.registry.session import TOKEN_MAX, Session

T = TypeVar("T")
_TIMEOUT = ClientTimeout(total=None, sock_connect=30, sock_read=60)
_LOGIN_TIMEOUT = ClientTimeout(total=15)
INDEX = "index.docker.io"
SEARCH_MAX = 4 << 20
CATALOG_PAGE, CATALOG_PAGES_MAX = 1000, 20
CATALOG_SCOPES = ("registry:catalog:search", "registry:catalog:*")
LOOPBACK = ("127.0.0.0/8", "::1/128")


class _Found(msgspec.Struct):
    results: list[SearchResult] | None = None


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


class Registry:
    """How this engine talks to registries; it holds no connection and no credentials.

    `insecure` are networks or hosts (`host`, `host:port`) whose certificate need not be right and that may
    speak plain HTTP; `mirrors` are asked before Docker's own registry.
    """

    def __init__(
        self,
        *,
        insecure: Sequence[str] = LOOPBACK,
        mirrors: Sequence[str] = (),
        certs_d: str = CERTS_D,
    ) -> None:
        self._certs_d = certs_d
        self.configure(insecure=insecure, mirrors=mirrors)

    def configure(self, *, insecure: Sequence[str], mirrors: Sequence[str]) -> None:
        """From the next request on, these are insecure and these are the mirrors."""
        self._endpoints = Endpoints(insecure=insecure, mirrors=mirrors, certs_d=self._certs_d)

    async def endpoints(self, reference: Reference, *, mirrors: bool = True) -> list[Endpoint]:
        """Where the repository of `reference` may be found, the best place first. Raises: System."""
        return await in_thread(lambda: self._endpoints.of(reference.domain, mirrors=mirrors))

    @asynccontextmanager
    async def open(
        self,
        reference: Reference,
        auth: AuthConfig | None,
        endpoint: Endpoint | None = None,
        *,
        actions: str = "pull",
        kind: str = "repository",
    ) -> AsyncIterator[Repository]:
        """The repository of `reference`, spoken to and, where it asks for it, logged in to.

        A mirror is not given the credentials of what it mirrors. Without an `endpoint` it is the registry's
        own. `kind` is "repository(plugin)" for plugins. Raises: System with Docker's text when nobody
        answers, Unauthorized.
        """
        if endpoint is None:
            endpoint = (await self.endpoints(reference, mirrors=False))[-1]
        scope = f"{kind}:{reference.path}:{actions}"
        async with self._session(endpoint.via, None if endpoint.is_mirror else auth, [scope]) as session:
            base = await session.connect(endpoint.bases)
            yield Repository(session, reference, base, endpoint.via)

    async def log_in(self, auth: AuthConfig) -> str:
        """Prove credentials to the registry they are for; its identity token, "" when it gives none.

        Raises: InvalidParameter, Unauthorized, System in Docker's words.
        """
        address = auth.serveraddress
        host = urlsplit(address if "://" in address else f"https://{address}").netloc if address else INDEX
        if not host:
            raise InvalidParameter(f"unable to parse server address: {address!r}")
        domain = DEFAULT_DOMAIN if host in (INDEX, DEFAULT_DOMAIN, "registry-1.docker.io") else host
        (endpoint,) = await in_thread(lambda: self._endpoints.of(domain, mirrors=False))
        async with self._session(endpoint.via, auth, [], timeout=_LOGIN_TIMEOUT) as session:
            try:
                base = await session.connect(endpoint.bases)
            except Unauthorized as error:
                raise Unauthorized(f'Get "{session.base}/v2/": {error}') from error
            headers = {}
            if authorization := await session.authorization((), offline=True):
                headers["Authorization"] = authorization
            answer = await session.once("GET", f"{base}/v2/", headers, limit=TOKEN_MAX)
            if answer.status != 200:
                text = f"login attempt to {base}/v2/ failed with status: {answer.status} {answer.reason}"
                raise Unauthorized(text) if answer.status in (401, 403) else System(text)
            return session.identity_token

    async def search(self, term: str, limit: int, auth: AuthConfig | None) -> list[SearchResult]:
        """What the registry's index finds, or for one without an index its own catalogue.

        Raises: InvalidParameter, System in Docker's words.
        """
        if "://" in term:
            raise InvalidParameter("invalid repository name (registry URL must not have a scheme)")
        if not 1 <= limit <= 100:
            raise InvalidParameter(f"Limit {limit} is outside the range of [1, 100]")
        host, slash, rest = term.partition("/")
        if not slash or not (set(".:") & set(host) or host == "localhost"):
            host, rest = INDEX, term
        (endpoint,) = await in_thread(lambda: self._endpoints.of(host, mirrors=False))
        async with self._session(endpoint.via, auth, CATALOG_SCOPES) as session:
            *tried, last = endpoint.bases
            for base in tried:
                with suppress(RegistryError):
                    return await self._found(session, base, host, rest, limit)
            return await self._found(session, last, host, rest, limit)

    async def _found(
        self, session: Session, base: str, host: str, term: str, limit: int
    ) -> list[SearchResult]:
        found = await _search(session, base, term, limit)
        if found is not None:
            return found
        if host == INDEX:
            raise System("Unexpected status code 404")
        return await _catalogued(session, base, host, term, limit)

    @asynccontextmanager
    async def _session(
        self, via: Via, auth: AuthConfig | None, scopes: Sequence[str], *, timeout: ClientTimeout = _TIMEOUT
    ) -> AsyncIterator[Session]:
        try:
            context: ssl.SSLContext = await in_thread(tls_context, via)
        except BadCertificates as error:
            raise System(str(error)) from error
        headers = {"User-Agent": user_agent()}
        async with ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), headers=headers
        ) as http:
            yield Session(http, context, auth, scopes)


async def _search(session: Session, base: str, term: str, limit: int) -> list[SearchResult] | None:
    """What the index at `base` finds; None: there is no index."""
    target = f"{base}/v1/search?q={quote(term, safe='')}&n={limit}"
    answer = await session.request("GET", target, {"X-Docker-Token": "true"}, limit=SEARCH_MAX)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise System(f"Unexpected status code {answer.status}")
    return _decoded(answer.body, _Found).results or []


async def _catalogued(session: Session, base: str, host: str, term: str, limit: int) -> list[SearchResult]:
    """The repositories of a registry that lists them, by a part of their names; ready to be pulled."""
    found: list[SearchResult] = []
    after = ""
    for _ in range(CATALOG_PAGES_MAX):
        target = f"{base}/v2/_catalog?n={CATALOG_PAGE}" + (f"&last={quote(after, safe='')}" if after else "")
        answer = await session.request("GET", target, {}, limit=SEARCH_MAX)
        if answer.status != 200:
            raise System(f"Unexpected status code {answer.status}")
        names = _decoded(answer.body, _Catalog).repositories or []
        found += [SearchResult(name=f"{host}/{name}") for name in names if term in name]
        if len(names) < CATALOG_PAGE or len(found) >= limit:
            break
        after = names[-1]
    return found[:limit]


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise System(f"error decoding registry search results: {error}") from error
