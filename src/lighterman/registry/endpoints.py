"""Where a registry is to be found, and how it is to be reached: mirrors first, then itself.

Sources: dockerd's `insecure-registries`, `registry-mirrors` and certs.d; containerd's hosts.toml, which gives
any registry mirrors of its own: `certs.d/<host>/hosts.toml` with a table `[host."https://mirror"]` for each.
"""

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from lighterman.content import Via
from lighterman.errdefs import InvalidParameter, System
from lighterman.reference import DEFAULT_DOMAIN

CERTS_D = "/etc/docker/certs.d"
_HOSTS = {DEFAULT_DOMAIN: "registry-1.docker.io"}


class Endpoint(Struct, frozen=True):
    """One place to ask. `bases` are tried in turn: with TLS first."""

    bases: tuple[str, ...]
    via: Via
    is_mirror: bool = False


class Endpoints:
    """What the operator decided about registries."""

    def __init__(
        self, *, insecure: Sequence[str] = (), mirrors: Sequence[str] = (), certs_d: str = CERTS_D
    ) -> None:
        self._networks = [ipaddress.ip_network(entry) for entry in insecure if "/" in entry]
        self._hosts = {entry for entry in insecure if "/" not in entry}
        self._mirrors = [mirror.rstrip("/") for mirror in mirrors]
        self._certs_d = Path(certs_d)

    def of(self, domain: str, *, mirrors: bool) -> list[Endpoint]:
        """The places of a registry, the best first. Blocks for a small file. Raises: System."""
        host = _HOSTS.get(domain, domain)
        found: list[Endpoint] = []
        if mirrors:
            found += self._configured(host if domain != DEFAULT_DOMAIN else domain)
            if domain == DEFAULT_DOMAIN:
                found += [self._mirror(mirror) for mirror in self._mirrors]
        insecure = self.is_insecure(host)
        bases = (f"https://{host}", *((f"http://{host}",) if insecure else ()))
        return [*found, Endpoint(bases, self._via(host, verify_tls=not insecure))]

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

    def _configured(self, host: str) -> list[Endpoint]:
        path = self._certs_d / host / "hosts.toml"
        try:
            text = path.read_text()
            import tomllib  # few hosts have such a file

            tables = tomllib.loads(text).get("host", {})
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise System(f"{path} cannot be used: {error}") from error
        return [
            self._mirror(url, verify_tls=not table.get("skip_verify", False))
            for url, table in tables.items()
            if "pull" in table.get("capabilities", ["pull"])
        ]

    def _mirror(self, url: str, *, verify_tls: bool = True) -> Endpoint:
        base = check_mirror(url)
        host = base.partition("://")[2]
        verify_tls = verify_tls and not self.is_insecure(host)
        return Endpoint((base,), self._via(host, verify_tls=verify_tls), is_mirror=True)

    def _via(self, host: str, *, verify_tls: bool) -> Via:
        directory = self._certs_d / host
        return Via(verify_tls, str(directory) if directory.is_dir() else "")


def check_mirror(url: str) -> str:
    """The mirror's URL without a slash at its end. Raises: InvalidParameter in dockerd's words."""
    scheme, there, rest = url.rstrip("/").partition("://")
    if not there or scheme not in ("http", "https"):
        raise InvalidParameter(f'invalid mirror: unsupported scheme "{scheme}" in "{url}"')
    if not rest or any(each in rest for each in "/?#@"):
        raise InvalidParameter(f'invalid mirror: path, query, or fragment at end of the URI "{url}"')
    return f"{scheme}://{rest}"
