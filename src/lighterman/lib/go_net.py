"""What Go's net/http says when a request fails: texts that Docker's clients and scripts look for."""

import errno
import os
import socket
import ssl

_DIAL = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL}


def request_error(method: str, url: str, host: str, port: int, error: BaseException) -> str:
    """The text of a request that had no answer, e.g. `Get "http://h/v2/": dial tcp h:1: connect: ...`."""
    return f'{method.capitalize()} "{url}": {_cause(host, port, error)}'


def _cause(host: str, port: int, error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"x509: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        wrong = error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
        return "http: server gave HTTP response to HTTPS client" if wrong else f"tls: {error.reason}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {_address(host, port)}: i/o timeout"
    if isinstance(error, OSError) and error.errno is not None:
        text = os.strerror(error.errno).lower()
        if error.errno in _DIAL:
            return f"dial tcp {_address(host, port)}: connect: {text}"
        return f"read tcp {_address(host, port)}: {text}"
    return "EOF"


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
