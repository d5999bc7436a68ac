"""A blob to a registry: a small one in one request, a large one in chunks.

A connection that breaks between two chunks costs nothing: the registry is asked how far it came, and gets the
rest. Where it does not know, and where it takes no chunks, the daemon begins a new upload. A registry that
wants no more says so in its answer, perhaps before it has read everything; its answer counts, not the broken
pipe. Source: OCI distribution-spec, pushing a blob monolithically and in chunks.
"""

import http.client
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from lighterman.content.connection import BadAddress, BadCertificates, Connection
from lighterman.content.download import DownloadFailed
from lighterman.content.jobs import PUSHING, Step, Upload, Uploaded, Via, finishing_url
from lighterman.content.tree import Refused
from lighterman.lib.go_net import request_error

_PIECE = 1 << 18
_REPORT_EVERY_S = 0.1
_SAID_MAX = 1 << 16
_BREAKS = 4
"""Of the connection, one after the other without a chunk between them."""
_RECEIVED = re.compile(r"(?:bytes[= ])?0-(\d+)")


class UploadFailed(DownloadFailed):
    """The registry does not have the blob. `status` is its last word, 0 when it said nothing."""


class _Answer(Struct, frozen=True):
    status: int
    reason: str
    location: str
    range: str
    said: str


def upload(job: Upload, fds: Sequence[int], report: Callable[[Step], None]) -> Uploaded:
    """Do it. Raises: UploadFailed, Refused, OSError."""
    told = _Told(job.size, report)
    place, blob = _Place(job), fds[0]
    try:
        if job.chunk_bytes and job.size > job.chunk_bytes:
            _in_chunks(job, place, blob, told)
            answer = place.ask("PUT", finishing_url(place.url, job.digest))
        else:
            pieces = told.of(_pieces(blob, 0, job.size))
            answer = place.ask("PUT", finishing_url(place.url, job.digest), pieces, size=job.size)
    finally:
        place.close()
    if answer.status not in (201, 202, 204):
        raise _refused(answer)
    return Uploaded()


def _in_chunks(job: Upload, place: "_Place", blob: int, told: "_Told") -> None:
    at = breaks = 0
    while at < job.size:
        end = min(at + job.chunk_bytes, job.size)
        headers = {"Content-Range": f"{at}-{end - 1}"}
        told.sent = at
        pieces = told.of(_pieces(blob, at, end - at))
        try:
            answer = place.ask("PATCH", place.url, pieces, size=end - at, headers=headers)
        except UploadFailed:
            breaks += 1
            if breaks > _BREAKS or (at := place.received()) < 0:
                raise
            continue
        if answer.status not in (202, 204):
            raise _refused(answer)
        place.move(answer)
        at, breaks = end, 0


class _Place:
    """Where an upload goes on, over one connection that is made anew when it breaks."""

    def __init__(self, job: Upload) -> None:
        self.url = job.url
        self._headers = dict(job.headers)
        self._via = job.via
        self._connection: Connection | None = None

    def move(self, answer: _Answer) -> None:
        """Go on where the registry says. To another host neither credentials nor certificates go along."""
        if not (to := answer.location):
            return
        url = urljoin(self.url, to)
        if urlsplit(url)[:2] != urlsplit(self.url)[:2]:
            self.close()
            self._headers.pop("Authorization", None)
            self._via = Via(self._via.verify_tls)
        self.url = url

    def received(self) -> int:
        """How many bytes the registry has; -1: it does not say."""
        with suppress(UploadFailed):
            answer = self.ask("GET", self.url)
            # "0-0" is what is said of nothing at all
            if answer.status == 204 and (match := _RECEIVED.fullmatch(answer.range)):
                self.move(answer)
                return int(match[1]) + 1 if match[1] != "0" else 0
        return -1

    def ask(
        self,
        method: str,
        url: str,
        pieces: Iterator[bytes] | None = None,
        *,
        size: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> _Answer:
        """One request. Raises: UploadFailed when there is no answer, Refused when there will never be."""
        parts = urlsplit(url)
        try:
            connection = self._connection = self._connection or Connection(parts, self._via)
            sent = {**self._headers, **connection.headers, **(headers or {})}
            if method != "GET":
                sent |= {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
            with suppress(
                BrokenPipeError, ConnectionResetError, ssl.SSLEOFError
            ):  # it may have answered before
                connection.http.request(method, connection.target_of(parts), body=pieces, headers=sent)
            response = connection.http.getresponse()
            places = (response.getheader("Location", ""), response.getheader("Range", ""))
            said = response.read(_SAID_MAX).decode(errors="replace")
            if not response.isclosed():
                self.close()
            return _Answer(response.status, response.reason, *places, said)
        except BadAddress as error:
            raise Refused(f'{method.capitalize()} "{url}": {error}') from error
        except BadCertificates as error:
            raise UploadFailed(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            text = request_error(method, url, parts.hostname or "", parts.port or 0, error)
            raise UploadFailed(text) from error

    def close(self) -> None:
        """Hang up; the next request dials again."""
        if self._connection is not None:
            self._connection.http.close()
            self._connection = None


class _Told:
    """Tells now and then how much was sent."""

    def __init__(self, size: int, report: Callable[[Step], None]) -> None:
        self.sent = 0
        self._size = size
        self._report = report
        self._at_s = 0.0

    def of(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces."""
        for piece in pieces:
            yield piece
            self.sent += len(piece)
            now_s = time.monotonic()
            if now_s - self._at_s >= _REPORT_EVERY_S or self.sent == self._size:
                self._at_s = now_s
                self._report(Step(PUSHING, self.sent, self._size))


def _pieces(fd: int, at: int, size: int) -> Iterator[bytes]:
    end = at + size
    while at < end and (piece := os.pread(fd, min(_PIECE, end - at), at)):
        yield piece
        at += len(piece)


def _refused(answer: _Answer) -> UploadFailed:
    text = answer.said or f"received unexpected HTTP status: {answer.status} {answer.reason}"
    return UploadFailed(text, status=answer.status)
