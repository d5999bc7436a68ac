"""What a client lends by a single question: credentials and secrets."""

from lighterman.apitypes.registry import AuthConfig
from lighterman.build.session import session_pb2 as pb
from lighterman.build.session.sessions import Session
from lighterman.errdefs import InvalidParameter, NotFound

_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
SECRET_MAX_BYTES = 500 * 1024
"""Source: MaxSecretSize of buildkit."""
IDENTITY = "<token>"
"""The name of a user whose secret is an identity token. Source: docker login."""


async def credentials(session: Session, host: str) -> AuthConfig | None:
    """The credentials for a registry, None where the client has none. Raises: System."""
    if not session.serves(_CREDENTIALS):
        return None
    request = pb.CredentialsRequest(host="https://index.docker.io/v1/" if host == "docker.io" else host)
    found = await session.channel.call(_CREDENTIALS, request, pb.CredentialsResponse)
    if not found.secret:
        return None
    if found.username in ("", IDENTITY):
        return AuthConfig(identitytoken=found.secret)
    return AuthConfig(username=found.username, password=found.secret)


async def secret(session: Session, secret_id: str) -> bytes | None:
    """The secret, None where the client has none of this id. Raises: InvalidParameter, System."""
    if not session.serves(_SECRET):
        return None
    try:
        found = await session.channel.call(_SECRET, pb.GetSecretRequest(id=secret_id), pb.GetSecretResponse)
    except NotFound:
        return None
    if len(found.data) > SECRET_MAX_BYTES:
        raise InvalidParameter(f"secret {secret_id} is larger than {SECRET_MAX_BYTES} bytes")
    return found.data
