"""Plugins that nobody installed here: a process of the host that listens somewhere, and a file that says
where.

`NAME.sock` is the socket itself, `NAME.spec` holds an address, `NAME.json` an address and files for TLS; each
may lie in a directory NAME. The first of the directories is for sockets, the others for the texts.
Source: plugin discovery of Docker's documentation; moby's pkg/plugins/discovery.go. All of it blocks.
"""

import os
import ssl
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from lighterman.errdefs import System
from lighterman.lib.tls import client_context
from lighterman.plugins.client import Address

_TEXT_MAX_BYTES = 1 << 16


class _Tls(msgspec.Struct, rename="pascal"):
    insecure_skip_verify: bool = False
    ca_file: str = msgspec.field(name="CAFile", default="")
    cert_file: str = ""
    key_file: str = ""


class _Described(msgspec.Struct, rename="pascal"):
    addr: str = ""
    tls: _Tls | None = msgspec.field(name="TLSConfig", default=None)


def find(directories: Sequence[Path], name: str) -> Address | None:
    """Where the plugin of this name listens; None: there is none.

    Raises: System: what describes it is no address.
    """
    if "/" in name or name.startswith("."):
        return None
    for path in _places(directories[:1], name, ".sock"):
        if _is_socket(path):
            return Address(path=str(path))
    for directory in directories[1:]:
        for path in (*_places([directory], name, ".spec"), *_places([directory], name, ".json")):
            if path.is_file():
                return _described(path)
    return None


def names(directories: Sequence[Path]) -> list[str]:
    """The names of all of them. Raises: System."""
    found = {path.stem for path in _entries(directories[:1]) if _is_socket(path)}
    found |= {path.stem for path in _entries(directories[1:]) if path.suffix in (".spec", ".json")}
    return sorted(found)


def _places(directories: Sequence[Path], name: str, suffix: str) -> list[Path]:
    file = f"{name}{suffix}"
    return [path for directory in directories for path in (directory / file, directory / name / file)]


def _entries(directories: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for directory in directories:
        try:
            for path in directory.iterdir():
                found += (
                    [inner for inner in path.iterdir() if inner.stem == path.name]
                    if path.is_dir()
                    else [path]
                )
        except FileNotFoundError:
            continue
        except OSError as error:
            raise System(f"legacy plugin: error reading dir entries: {error}") from error
    return found


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _described(path: Path) -> Address:
    try:
        with path.open("rb") as file:
            text = file.read(_TEXT_MAX_BYTES)
        if path.suffix == ".spec":
            return _address(text.decode().strip(), _Tls(insecure_skip_verify=True))
        described = msgspec.json.decode(text, type=_Described)
        return _address(described.addr, described.tls)
    except (OSError, ValueError) as error:  # DecodeError and UnicodeDecodeError are such
        raise System(f"legacy plugin: {path}: {error}") from error


def _address(text: str, tls: _Tls | None) -> Address:
    parts = urlsplit(text)
    if parts.scheme == "unix":
        return Address(path=parts.path or parts.netloc)
    if parts.scheme in ("tcp", "http"):
        return Address(host=parts.netloc)
    if parts.scheme == "https":
        return Address(host=parts.netloc, tls=_context(tls or _Tls()))
    raise ValueError("Unknown protocol")


def _context(tls: _Tls) -> ssl.SSLContext:
    context = client_context(tls.ca_file, verify=not tls.insecure_skip_verify and bool(tls.ca_file))
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context
