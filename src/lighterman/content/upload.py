"""A blob to a registry, in one request whose length is known beforehand.

A registry that wants no more says so in its answer, perhaps before it has read everything; its answer counts,
not the broken pipe. Tries again are the daemon's business: an upload that broke needs a new place.
Source: OCI distribution-spec, pushing a blob monolithically.
"""

import http.client
import os
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from lighterman.content.connection import BadCertificates, Connection
from lighterman.content.download import DownloadFailed
from lighterman.content.jobs import PUSHING, Step, Upload, Uploaded
from lighterman.lib.go_net import request_error

_PIECE = 1 << 18
_REPORT_EVERY_S = 0.1
_SAID_MAX = 1 << 16


class UploadFailed(DownloadFailed):
    """The registry does not have the blob. `status` is its last word, 0 when it said nothing."""


def upload(job: Upload, fds: Sequence[int], report: Callable[[Step], None]) -> Uploaded:
    """Do it. Raises: UploadFailed, OSError."""
    parts = urlsplit(job.url)
    try:
        connection = Connection(parts, job.via)
    except BadCertificates as error:
        raise UploadFailed(str(error)) from error
    headers = {
        **job.headers,
        **connection.headers,
        "Content-Length": str(job.size),
        "Content-Type": "application/octet-stream",
    }
    try:
        answer = _send(connection, headers, _pieces(fds[0], job.size, report))
    except (OSError, http.client.HTTPException) as error:
        text = request_error("Put", job.url, parts.hostname or "", parts.port or 0, error)
        raise UploadFailed(text) from error
    finally:
        connection.http.close()
    status, reason, said = answer
    if status not in (201, 202, 204):
        raise UploadFailed(said or f"received unexpected HTTP status: {status} {reason}", status=status)
    return Uploaded()


def _send(connection: Connection, headers: dict[str, str], pieces: Iterator[bytes]) -> tuple[int, str, str]:
    with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):  # it may have answered before
        connection.http.request("PUT", connection.target, body=pieces, headers=headers)
    response = connection.http.getresponse()
    return response.status, response.reason, response.read(_SAID_MAX).decode(errors="replace")


def _pieces(fd: int, size: int, report: Callable[[Step], None]) -> Iterator[bytes]:
    sent, told = 0, 0.0
    while piece := os.read(fd, _PIECE):
        yield piece
        sent += len(piece)
        now = time.monotonic()
        if now - told >= _REPORT_EVERY_S or sent == size:
            told = now
            report(Step(PUSHING, sent, size))
