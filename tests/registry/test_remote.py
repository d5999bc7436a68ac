"""Files from plain URLs."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.support.certificates import self_signed

from lighterman.errdefs import System
from lighterman.registry import opened_url


class Told(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"cargo")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)[0]


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    """Of a server that shows the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with HTTPServer(("127.0.0.1", 0), Told) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/file"
        server.shutdown()
        thread.join()


async def test_the_hosts_authorities_are_trusted(
    url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with opened_url(url) as remote:
        assert b"".join([piece async for piece in remote.chunks]) == b"cargo"


async def test_others_are_not(url: str) -> None:
    with pytest.raises(System, match=r'^Get "https://127.0.0.1:\d+/file": x509: self-signed certificate$'):
        async with opened_url(url):
            pass


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("nobody.invalid", "dial tcp: lookup nobody.invalid: no such host"),
        ("127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)
async def test_nobody_there_is_said_in_dockers_words(host: str, said: str) -> None:
    with pytest.raises(System, match=f'^Get "http://{host}/file": {said}$'):
        async with opened_url(f"http://{host}/file"):
            pass
