"""Requests that a browser was made to send: refused on TCP, where every web page could reach the engine.

A page can send simple requests to any address (it cannot read the answer, but start and kill need none), and
a name that resolves to 127.0.0.1 makes the engine the page's own site. Unix sockets are out of its reach.
"""

import ipaddress
from collections.abc import Mapping

from lighterman.errdefs import Forbidden


def refuse_browsers(
    headers: Mapping[str, str],
    local_address: str,
    own_name: str,
    *,
    encrypted: bool = False,
    own_page: bool = False,
) -> None:
    """Raises Forbidden for a request over TCP that comes from a web page, other than the engine's `own_page`.

    `local_address` is where it arrived. On loopback the Host must be an address, localhost or `own_name`; not
    when it is `encrypted`: then the certificate says whose name it is. For a listener with a page it must be
    so everywhere: a browser is there to be lied to.
    """
    sites = ("none", "same-origin") if own_page else ("none",)
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") not in sites:
        raise Forbidden("requests from web pages are refused")
    host = _name(headers.get("Host", ""))
    if (
        not encrypted
        and (own_page or _is_loopback(local_address))
        and not (
            _is_address(host) or host in ("", "localhost", own_name.lower()) or host.endswith(".localhost")
        )
    ):
        raise Forbidden(f"Host {host} is not a name of this engine on loopback")


def _name(host: str) -> str:
    """The host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return _is_address(text) and ipaddress.ip_address(text).is_loopback
