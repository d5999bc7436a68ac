"""Which proxy a request goes through, by the environment, as Go's programs read it.

Source: golang.org/x/net/http/httpproxy: HTTP_PROXY, HTTPS_PROXY and NO_PROXY in either case; loopback never
goes through one; NO_PROXY holds hosts with their subdomains, addresses, networks, each perhaps with a port.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The URL of the proxy for a request to `url`, "" for none."""
    parts = urlsplit(url)
    proxy = from_environment(f"{parts.scheme}_proxy".upper(), environ)
    if not proxy or not parts.hostname or _is_excepted(parts, environ):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def from_environment(name: str, environ: Mapping[str, str]) -> str:
    """The variable `name` as it is written, or in small letters; "" when it is not set."""
    return environ.get(name) or environ.get(name.lower()) or ""


def without_credentials(proxy: str) -> str:
    """A proxy's URL as everybody may see it. Source: MaskCredentials of moby."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return proxy
    return parts._replace(netloc="xxxxx:xxxxx@" + parts.netloc.rpartition("@")[2]).geturl()


def _is_excepted(parts: SplitResult, environ: Mapping[str, str]) -> bool:
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = from_environment("NO_PROXY", environ).lower().split(",")
    return any(_matches(entry.strip(), host, port, address) for entry in entries if entry.strip())


def _matches(
    entry: str, host: str, port: int, address: "ipaddress.IPv4Address | ipaddress.IPv6Address | None"
) -> bool:
    if entry == "*":
        return True
    if address is not None:
        try:
            if address in ipaddress.ip_network(entry):
                return True
        except ValueError:
            pass
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (name.endswith("]") or ":" not in name):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]").removeprefix("*")
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or (address is None and host.endswith(f".{entry}"))


def _address(host: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
