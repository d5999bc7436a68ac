"""The certificates of TCP: who the engine is, and whose clients it serves."""

import os
import ssl
from pathlib import Path

from lighterman.daemon.config import EngineConfig
from lighterman.errdefs import InvalidParameter


def tls_context(config: EngineConfig) -> ssl.SSLContext | None:
    """How TCP is encrypted; None for not at all. Reads the files.

    Raises: InvalidParameter, in dockerd's words, for a file that is not there or not what it should be.
    Source: tlsconfig.Server of docker/go-connections.
    """
    if not config.uses_tls:
        return None
    home = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    cert = config.tlscert or str(home / "cert.pem")
    key = config.tlskey or str(home / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # an encrypted key would ask on the terminal
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise InvalidParameter(
            f'Could not load X509 key pair (cert: "{cert}", key: "{key}"): {error}. '
            "Make sure the key is not encrypted"
        ) from error
    if config.verifies_clients:
        authority = config.tlscacert or str(home / "ca.pem")
        try:
            context.load_verify_locations(authority)
        except (OSError, ValueError) as error:
            raise InvalidParameter(f'could not read CA certificate "{authority}": {error}') from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
