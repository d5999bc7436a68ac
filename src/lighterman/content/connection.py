"""One blocking connection to a host, as a worker makes it: plain or TLS, straight or through a proxy.

The daemon's own client (`registry`) uses the same `tls_context`, so both trust the same authorities.
Source: dockerd's certs.d: `*.crt` are authorities, each `NAME.cert` is a client certificate for `NAME.key`.
"""

import base64
import http.client
import os
import ssl
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from lighterman.content.jobs import Via
from lighterman.lib.proxies import proxy_for
from lighterman.lib.tls import client_context

STALLED_S = 60.0


class BadCertificates(ValueError):
    """A directory of certificates that cannot be used; the text is for the operator."""


def tls_context(via: Via) -> ssl.SSLContext:
    """What to speak TLS with. Blocks for a few small files. Raises: BadCertificates."""
    context = client_context(verify=via.verify_tls)
    if not via.certificates:
        return context
    try:
        for path in sorted(Path(via.certificates).iterdir()):
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                key = path.with_suffix(".key")
                if not key.exists():
                    raise BadCertificates(f"missing key {key.name} for client certificate {path.name}")
                context.load_cert_chain(path, key)
    except OSError as error:  # ssl.SSLError is one
        raise BadCertificates(f"the certificates of {via.certificates} cannot be used: {error}") from error
    return context


class BadAddress(Exception):
    """No host to connect to over HTTP: what a registry sends us to is a file, for one."""


class Connection:
    """A connection to the host of a URL, and how requests are to be written on it.

    Raises: BadAddress, BadCertificates.
    """

    def __init__(self, parts: SplitResult, via: Via) -> None:
        if parts.hostname is None or parts.scheme not in ("http", "https"):
            raise BadAddress(f'unsupported protocol scheme "{parts.scheme}"')
        self._prefix = ""
        self.headers: dict[str, str] = {}
        """To send with each request."""
        proxy = urlsplit(proxy_for(parts.geturl(), os.environ))
        if parts.scheme == "https":
            self.http = self._secure(parts, proxy, via)
        elif proxy.hostname:
            self.http = http.client.HTTPConnection(proxy.hostname, proxy.port or 80, timeout=STALLED_S)
            self._prefix = f"http://{parts.netloc}"
            self.headers = _proxy_headers(proxy)
        else:
            self.http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=STALLED_S)

    def target_of(self, parts: SplitResult) -> str:
        """What to ask for, to get a URL of the same host."""
        return self._prefix + (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _secure(self, parts: SplitResult, proxy: SplitResult, via: Via) -> http.client.HTTPConnection:
        assert parts.hostname is not None
        context = tls_context(via)
        if not proxy.hostname:
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=STALLED_S, context=context)
        made = http.client.HTTPSConnection(
            proxy.hostname, proxy.port or 80, timeout=STALLED_S, context=context
        )
        made.set_tunnel(parts.hostname, parts.port or 443, _proxy_headers(proxy))
        return made


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
