"""Requests to one registry with the credentials of one operation.

A 401 is answered once: by a password, or by a token that is fetched for what the operation is about to do.
Tokens last for minutes, so a 401 may come again much later, and is answered again.
Source: RFC 9110; distribution's token authentication and OAuth 2 specifications.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
from aiohttp import ClientError, ClientSession, NonHttpUrlClientError, TooManyRedirects
from msgspec import Struct
from multidict import CIMultiDictProxy
from yarl import URL

from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import System
from lighterman.lib.go_net import request_error
from lighterman.lib.proxies import proxy_for
from lighterman.registry.agent import user_agent
from lighterman.registry.auth import Challenge, basic, credentials, parse_challenges
from lighterman.registry.errors import RegistryError, refused

TOKEN_MAX = 1 << 20
TRIES = 3
FIRST_DELAY_S = 0.2
_TOKEN_DELAYS_S = (0.2, 0.4, 0.8, 1.6)
CLIENT_ID = "lighterman"
_TRANSIENT = (429, 500, 502, 503, 504)


class _Token(Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""


class Response(Struct, frozen=True):
    """What came back, whole."""

    url: str
    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    body: bytes


class Session:
    """One registry, for one operation. `scopes` are what its tokens must allow."""

    def __init__(
        self, http: ClientSession, context: ssl.SSLContext, auth: AuthConfig | None, scopes: Sequence[str]
    ) -> None:
        self._http = http
        self._context = context
        self._auth = auth
        self._scopes = tuple(scopes)
        self._challenges: list[Challenge] = []
        self._authorization = ""
        self.base = ""
        """Where it is connected to."""
        self.identity_token = ""
        """What a token server gave to be used in the place of the password from now on."""

    @property
    def headers(self) -> dict[str, str]:
        """Who asks, with the credentials of now."""
        agent = {"User-Agent": user_agent()}
        return {**agent, "Authorization": self._authorization} if self._authorization else agent

    async def connect(self, bases: Sequence[str]) -> str:
        """The first of `bases` (`https://host`) that speaks the protocol, logged in to where it asks for it.

        Raises: RegistryError with Docker's text when nobody answers, Unauthorized.
        """
        for number, base in enumerate(bases, 1):
            try:
                answer = await self.once("GET", f"{base}/v2/", {}, limit=TOKEN_MAX)
            except RegistryError:
                if number == len(bases):
                    raise
                continue
            self.base = base
            if answer.status == 401:
                self._challenges = _challenges(answer)
                await self.log_in()
            elif answer.status != 200:
                raise refused(answer.status, answer.reason, answer.body, None)
            return base
        raise RegistryError("no endpoints found")

    async def log_in(self) -> None:
        """Answer the registry's challenge. Raises: Unauthorized, RegistryError.

        Without credentials a registry that wants a password is asked without one, and says itself what it
        thinks of that.
        """
        self._authorization = await self.authorization(()) or self._authorization

    async def authorization(self, more_scopes: Sequence[str], *, offline: bool = False) -> str:
        """The credentials for what the session may do and for `more_scopes`; "" when there are none.

        `offline` asks for an identity token as well.
        """
        for challenge in self._challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                token = await self._token(challenge, [*self._scopes, *more_scopes], offline=offline)
                return f"Bearer {token}"
            if challenge.scheme == "basic":
                pair = credentials(self._auth)
                return basic(*pair) if pair else ""
        return ""

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], *, limit: int, body: bytes = b""
    ) -> Response:
        """What the registry says. Logs in once more when it must, tries again what may pass.

        Raises: RegistryError when it says nothing, Unauthorized.
        """
        delay_s, logged_in = FIRST_DELAY_S, False
        for attempt in range(1, TRIES + 1):
            answer = await self.once(method, url, {**headers, **self.headers}, limit=limit, body=body)
            if answer.status == 401 and not logged_in:
                logged_in = True
                self._challenges = _challenges(answer) or self._challenges
                if self._lacks_password():
                    raise System(f'{method.capitalize()} "{url}": no basic auth credentials')
                await self.log_in()
            elif answer.status in _TRANSIENT and attempt < TRIES:
                await asyncio.sleep(delay_s)
                delay_s *= 2
            else:
                break
        return answer

    async def once(
        self, method: str, url: str, headers: Mapping[str, str], *, limit: int, body: bytes = b""
    ) -> Response:
        """One request as it is. Raises: RegistryError: no answer, or one longer than `limit`."""
        if self._http.closed:
            raise RegistryError(f'{method.capitalize()} "{url}": context canceled')
        # on a redirect to another host aiohttp leaves Authorization out
        try:
            async with self._http.request(
                method,
                url,
                headers=headers,
                data=body or None,
                ssl=self._context,
                proxy=proxy_for(url, os.environ) or None,
            ) as response:
                said = await response.content.read(limit + 1)
                while len(said) <= limit and (more := await response.content.read(limit + 1 - len(said))):
                    said += more
                if len(said) > limit:
                    raise RegistryError(f'{method.capitalize()} "{url}": more than {limit} bytes came')
                return Response(
                    str(response.url), response.status, response.reason or "", response.headers, said
                )
        except TooManyRedirects as error:
            raise RegistryError(f'{method.capitalize()} "{url}": stopped after 10 redirects') from error
        except NonHttpUrlClientError as error:  # where a redirect or a token server is to be
            scheme = URL(str(error)).scheme
            raise RegistryError(
                f'{method.capitalize()} "{error}": unsupported protocol scheme "{scheme}"'
            ) from error
        except (ClientError, OSError) as error:
            target = URL(url)
            text = request_error(method, url, target.host or "", target.port or 0, cause(error))
            raise RegistryError(text) from error

    async def _token(self, challenge: Challenge, scopes: Sequence[str], *, offline: bool) -> str:
        auth = self._auth or AuthConfig()
        if auth.registrytoken:
            return auth.registrytoken
        realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
        for delay_s in (*_TOKEN_DELAYS_S, None):
            if auth.identitytoken:
                answer = await self._refreshed(realm, service, scopes, auth.identitytoken)
            else:
                answer = await self._asked(realm, service, scopes, auth, offline=offline)
            if answer.status < 500 or delay_s is None:
                break
            await asyncio.sleep(delay_s)
        if answer.status != 200:
            raise refused(answer.status, answer.reason, answer.body, None)
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
        except msgspec.DecodeError as error:
            raise RegistryError(f"unable to decode token response: {error}") from error
        if not (token.token or token.access_token):
            raise RegistryError("authorization server did not include a token in the response")
        self.identity_token = token.refresh_token or auth.identitytoken
        return token.token or token.access_token

    async def _refreshed(self, realm: str, service: str, scopes: Sequence[str], refresh: str) -> Response:
        """By an identity token. Source: OAuth 2, refreshing an access token."""
        form = {"service": service, "client_id": CLIENT_ID, "grant_type": "refresh_token"}
        form |= {"refresh_token": refresh}
        if scopes:
            form["scope"] = " ".join(scopes)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = str(URL.build(query=form)).removeprefix("?").encode()
        return await self.once("POST", realm, headers, limit=TOKEN_MAX, body=body)

    async def _asked(
        self, realm: str, service: str, scopes: Sequence[str], auth: AuthConfig, *, offline: bool
    ) -> Response:
        """By a password, or by nothing."""
        pair = credentials(auth)
        query = [("scope", scope) for scope in scopes]
        query += [("service", service)] if service else []
        if pair:
            query.append(("account", pair[0]))
        if offline:
            query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        headers = {"Authorization": basic(*pair)} if pair else {}
        url = URL(realm)
        url = url.extend_query(query)
        return await self.once("GET", str(url), headers, limit=TOKEN_MAX)

    def _lacks_password(self) -> bool:
        schemes = {challenge.scheme for challenge in self._challenges}
        return schemes == {"basic"} and credentials(self._auth) is None


def _challenges(answer: Response) -> list[Challenge]:
    return parse_challenges(answer.headers.getall("WWW-Authenticate", []))


def cause(error: BaseException) -> BaseException:
    """What is behind aiohttp's own error."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error
