"""A blob from a registry, over one blocking connection that is made anew when it breaks.

The stream goes on where it stopped (`Range`), so hashes and decompressors behind it never notice. An
`Authorization` header is sent to the host it was meant for, not to where that one redirects.
Source: OCI distribution-spec, pulling blobs; RFC 9110 on ranges and redirects.
"""

import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urljoin, urlsplit

from lighterman.content.connection import BadAddress, BadCertificates, Connection
from lighterman.content.jobs import Download, Via
from lighterman.content.streams import READ
from lighterman.lib.go_net import request_error

FIRST_DELAY_S = 1
REDIRECTS = 10
_PROGRESS = 1 << 20
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class DownloadFailed(Exception):
    """No way to get the blob. `status` is the registry's last word, 0 when it said nothing."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _Transient(Exception):
    """Try again; the text is for the case that it was the last time."""


def download(source: Download, size: int, on_wait: Callable[[int], None]) -> Iterator[bytes]:
    """The `size` bytes of the blob. `on_wait` is told each second how many are left to the next try.

    Raises: DownloadFailed, also for a blob that is longer.
    """
    at, safe, tries, delay_s = 0, 0, 0, FIRST_DELAY_S
    while True:
        try:
            for chunk in _from(source, at):
                at += len(chunk)
                if at > size:
                    raise DownloadFailed(f"the registry sent more than the {size} bytes of the blob")
                yield chunk
            if at == size:
                return
            raise _Transient("unexpected EOF")
        except _Transient as error:
            if at - safe >= _PROGRESS:
                safe, tries, delay_s = at, 0, FIRST_DELAY_S
            tries += 1
            if tries >= source.attempts:
                raise DownloadFailed(str(error)) from error
            for left_s in range(delay_s, 0, -1):
                on_wait(left_s)
                time.sleep(1)
            delay_s *= 2


def _from(source: Download, at: int) -> Iterator[bytes]:
    url, headers, via = source.url, dict(source.headers), source.via
    if at:
        headers["Range"] = f"bytes={at}-"
    for _ in range(REDIRECTS):
        parts = urlsplit(url)
        connection = _connect(parts, via)
        try:
            response = _ask(connection, parts, url, headers)
            if response.status in (301, 302, 303, 307, 308) and (to := response.getheader("Location")):
                url = urljoin(url, to)
                if urlsplit(url)[:2] != parts[:2]:
                    # neither credentials nor certificates of one host are another's business
                    headers.pop("Authorization", None)
                    via = Via(verify_tls=source.via.verify_tls)
                continue
            yield from _body(response, at)
            return
        finally:
            connection.http.close()
    raise DownloadFailed(f'Get "{source.url}": stopped after {REDIRECTS} redirects')


def _connect(parts: SplitResult, via: Via) -> Connection:
    try:
        return Connection(parts, via)
    except BadAddress as error:
        raise DownloadFailed(f'Get "{parts.geturl()}": {error}') from error
    except BadCertificates as error:
        raise DownloadFailed(str(error)) from error


def _ask(
    connection: Connection, parts: SplitResult, url: str, headers: dict[str, str]
) -> http.client.HTTPResponse:
    host, port = parts.hostname or "", parts.port or connection.http.port
    try:
        connection.http.request("GET", connection.target_of(parts), headers={**headers, **connection.headers})
        return connection.http.getresponse()
    except ssl.SSLCertVerificationError as error:
        raise DownloadFailed(request_error("Get", url, host, port, error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Transient(request_error("Get", url, host, port, error)) from error


def _body(response: http.client.HTTPResponse, at: int) -> Iterator[bytes]:
    if response.status in _TRANSIENT:
        raise _Transient(f"received unexpected HTTP status: {response.status} {response.reason}")
    if response.status not in (200, 206):
        raise DownloadFailed(
            f"received unexpected HTTP status: {response.status} {response.reason}", status=response.status
        )
    # a server that knows no ranges begins at the beginning
    skip = at if response.status == 200 else 0
    try:
        while chunk := response.read1(READ):
            if skip:
                skip, chunk = max(0, skip - len(chunk)), chunk[skip:]
            if chunk:
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _Transient("unexpected EOF") from error
