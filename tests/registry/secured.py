"""Debian's docker-registry behind TLS, a password or a token server: what registries really do."""

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID
from msgspec import Struct, field
from tests.support.net import Neighbourhood

SECRET_HASHED = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
"""bcrypt of "secret"."""


class Identity(Struct, frozen=True):
    """A key and the certificate for it, self-signed."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def identity(name: str, address: str = "127.0.0.1") -> Identity:
    """A new one, whose certificate is good for `address`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(key, certificate)


@contextmanager
def docker_registry(
    directory: Path,
    *,
    ipv6: bool = False,
    net: Neighbourhood | None = None,
    address: str = "127.0.0.1",
    **settings: Any,
) -> Iterator[str]:
    """A registry with its storage in `directory`, on the engine's side if there is a `net`; `host:port`."""
    directory.mkdir(exist_ok=True)
    program = shutil.which("docker-registry")
    assert program, "docker-registry is missing"
    if net is not None:
        with net.listen((address, 0)) as probe:
            host = f"{address}:{probe.getsockname()[1]}"
    else:
        with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET) as probe:
            probe.bind(("::1" if ipv6 else address, 0))
            host = f"{'[::1]' if ipv6 else address}:{probe.getsockname()[1]}"
    http = {"addr": host, **settings.pop("http", {})}
    configuration = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory)}, "delete": {"enabled": True}},
        "http": http,
        **settings,
    }
    file = directory / "registry.json"  # JSON is YAML
    file.write_text(json.dumps(configuration))
    command = [program, "serve", str(file)]
    process = subprocess.Popen(
        net.entered(command) if net else command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(host, process, net)
        yield host
    finally:
        process.terminate()
        process.wait()


def _wait(host: str, process: "subprocess.Popen[bytes]", net: Neighbourhood | None) -> None:
    address, _, port = host.rpartition(":")
    where = (address.strip("[]"), int(port))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            (net.connect(where) if net else socket.create_connection(where, timeout=1)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the registry does not listen")


def tls(directory: Path, who: Identity, *, clients: Identity | None = None) -> dict[str, Any]:
    """Settings of `http` for TLS, perhaps for `clients` with a certificate only."""
    directory.mkdir(exist_ok=True)
    (directory / "server.crt").write_bytes(who.pem)
    (directory / "server.key").write_bytes(who.key_pem)
    settings: dict[str, Any] = {
        "certificate": str(directory / "server.crt"),
        "key": str(directory / "server.key"),
    }
    if clients is not None:
        (directory / "clients.crt").write_bytes(clients.pem)
        settings["clientcas"] = [str(directory / "clients.crt")]
    return {"tls": settings}


def htpasswd(directory: Path) -> dict[str, Any]:
    """Settings of `auth` that let in `me` with `secret`."""
    directory.mkdir(exist_ok=True)
    (directory / "htpasswd").write_text(f"me:{SECRET_HASHED}\n")
    return {"htpasswd": {"realm": "r", "path": str(directory / "htpasswd")}}


class TokenServer(Struct):
    """Gives tokens to `me`: by a password, or by the identity token that it gave for one."""

    who: Identity
    realm: str = ""
    refreshes: set[str] = field(default_factory=lambda: {"refresh-me"})
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def settings(self, directory: Path) -> dict[str, Any]:
        directory.mkdir(exist_ok=True)
        (directory / "tokens.crt").write_bytes(self.who.pem)
        return {
            "token": {
                "realm": self.realm,
                "service": "registry",
                "issuer": "tests",
                "rootcertbundle": str(directory / "tokens.crt"),
            }
        }

    def token(self, scopes: list[str]) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": "tests", "sub": "me", "aud": "registry", "exp": now + 60, "nbf": now - 60, "iat": now,
            "jti": str(time.time_ns()), "access": access,
        }  # fmt: skip
        der = self.who.certificate.public_bytes(serialization.Encoding.DER)
        head = {"alg": "ES256", "typ": "JWT", "x5c": [base64.b64encode(der).decode()]}
        text = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.who.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def token_server(listening: socket.socket | None = None) -> Iterator[TokenServer]:
    """A token server for the length of a block, on a socket that listens or one of its own."""
    tokens = TokenServer(identity("tokens"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            tokens.asked.append(("GET", query))
            given = self.headers.get("Authorization", "")
            if given != "Basic " + base64.b64encode(b"me:secret").decode():
                self.answer(401, {"details": "incorrect username or password"})
                return
            said = {"token": tokens.token(_scopes(query))}
            if query.get("offline_token") == ["true"]:
                said["refresh_token"] = "refresh-me"
            self.answer(200, said)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens.asked.append(("POST", form))
            if form["grant_type"] != ["refresh_token"] or form["refresh_token"][0] not in tokens.refreshes:
                self.answer(401, {})
                return
            self.answer(200, {"access_token": tokens.token(_scopes(form))})

        def answer(self, status: int, said: dict[str, str]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=listening is None) as server:
        if listening is not None:
            server.socket.close()
            server.socket, server.server_address = listening, listening.getsockname()
        tokens.realm = f"http://127.0.0.1:{server.server_address[1]}/token"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield tokens
        server.shutdown()
        thread.join()


def _scopes(asked: dict[str, list[str]]) -> list[str]:
    return [scope for text in asked.get("scope", []) for scope in text.split()]
