"""What a client asks of a server's certificate."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
from tests.support.certificates import Authority

from lighterman.lib.tls import client_context


def shaken_hands(place: Path, context: ssl.SSLContext) -> str:
    """The version that a client with `context` and a server with the certificate in `place` agree on."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(place / "cert.pem", place / "key.pem")
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            try:
                server.wrap_socket(theirs, server_side=True).close()
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, context.wrap_socket(ours, server_hostname="127.0.0.1") as secure:
            return secure.version() or ""
    finally:
        thread.join()


def test_a_certificate_made_by_hand_is_trusted_as_go_does(tmp_path: Path) -> None:
    place = Authority().issue(tmp_path, client=False)  # without what Python 3.13 asks for beyond Go
    assert shaken_hands(place, client_context(str(place / "ca.pem"))).startswith("TLS")


def test_a_strangers_certificate_is_refused_unless_nothing_is_verified(tmp_path: Path) -> None:
    place = Authority().issue(tmp_path, client=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken_hands(place, client_context())
    assert shaken_hands(place, client_context(verify=False)).startswith("TLS")
