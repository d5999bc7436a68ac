"""Connections of log drivers: blocking sockets, and errors in the words of Go's package net."""

import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

CONNECT_S = 10.0
_DATAGRAMS = ("udp", "unixgram")


class Tls:
    """The files of a TLS client. `ca` "": the system's authorities."""

    def __init__(self, ca: str, cert: str, key: str, *, verify: bool, name: str = "") -> None:
        self.ca, self.cert, self.key, self.verify, self.name = ca, cert, key, verify, name

    def wrap(self, sock: _socket.socket, host: str) -> "ssl.SSLSocket":
        """Raises: OSError (SSLError is one)."""
        import socket

        from lighterman.lib.tls import client_context

        context = client_context(self.ca, verify=self.verify)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        plain = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
        plain.settimeout(CONNECT_S)
        secure = context.wrap_socket(plain, server_hostname=self.name or host)
        secure.settimeout(None)
        return secure


class Connection:
    """To `address`: "host:port" for udp and tcp, a path for unix and unixgram. Opened by `open`."""

    def __init__(self, network: str, address: str, tls: Tls | None = None) -> None:
        self.network, self.address, self._tls = network, address, tls
        self._sock: _socket.socket | ssl.SSLSocket | None = None

    @property
    def is_open(self) -> bool:
        return self._sock is not None

    def open(self) -> None:
        """Connect, again if it was. Raises: OSError."""
        self.close()
        try:
            self._sock = self._dial()
        except OSError as error:
            raise OSError(error.errno, dial_error(self.network, self.address, error)) from error

    def _dial(self) -> "_socket.socket | ssl.SSLSocket":
        if self.network in ("unix", "unixgram"):
            kind = _socket.SOCK_DGRAM if self.network == "unixgram" else _socket.SOCK_STREAM
            return _connected(_socket.AF_UNIX, kind, 0, self.address)
        host, _, port = self.address.rpartition(":")
        host = host.strip("[]")
        kind = _socket.SOCK_DGRAM if self.network == "udp" else _socket.SOCK_STREAM
        error = OSError(f"lookup {host}: no such host")
        # as bytes: of a text it would load the tables of IDNA, a megabyte
        name = (host or "127.0.0.1").encode("ascii" if host.isascii() else "idna")
        places = _socket.getaddrinfo(name, port, 0, kind)
        for family, _, proto, _, place in places:
            try:
                sock = _connected(family, kind, proto, place)
                return self._tls.wrap(sock, host) if self._tls else sock
            except OSError as failed:
                error = failed
        raise error

    def send(self, data: bytes) -> None:
        """All of it, or one datagram. Raises: OSError; a stream is closed then."""
        if self._sock is None:
            self.open()
        assert self._sock is not None
        try:
            if self.network in _DATAGRAMS:
                self._sock.send(data)
            else:
                self._sock.sendall(data)
        except OSError as error:
            if self.network not in _DATAGRAMS:
                self.close()
            raise OSError(
                error.errno, f"write {self.network} {self.address}: {_why('write', error)}"
            ) from error

    def send_twice(self, data: bytes) -> None:
        """Send, and once more over a new connection if the old one has broken. Raises: OSError."""
        try:
            self.send(data)
        except OSError:
            self.open()
            self.send(data)

    def receive(self, size: int, timeout_s: float | None) -> bytes:
        """At most `size` bytes, b"": the peer has closed. Raises: OSError (TimeoutError)."""
        assert self._sock is not None
        self._sock.settimeout(timeout_s)
        try:
            return self._sock.recv(size)
        finally:
            self._sock.settimeout(None)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _connected(family: int, kind: int, proto: int, place: object) -> _socket.socket:
    sock = _socket.socket(family, kind, proto)
    try:
        sock.settimeout(CONNECT_S)
        sock.connect(place)  # type: ignore[arg-type]  # as getaddrinfo gave it
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def dial_error(network: str, address: str, error: OSError) -> str:
    """As Go tells it, e.g. `dial tcp 127.0.0.1:1: connect: connection refused`."""
    return f"dial {network} {address}: {_why('connect', error)}"


def _why(call: str, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    if isinstance(error, _socket.gaierror):
        return "no such host"
    if type(error).__name__.startswith("SSL"):
        return f"tls: {error}"
    return f"{call}: {os.strerror(error.errno).lower()}" if error.errno else str(error)
