"""Who asks a registry, and for whom: the name that goes with each request.

Source: dockerversion.DockerUserAgent of moby.
"""

import re
from contextvars import ContextVar

from lighterman import __version__

upstream_client: ContextVar[str] = ContextVar("upstream_client", default="")
"""What the client calls itself whose request is being served."""

_OURS = f"docker/{__version__} lighterman/{__version__}"


def user_agent() -> str:
    """Our name and, as dockerd does it, that of the client: registries count the clients by it."""
    client = re.sub(r"[^ -~]", "", upstream_client.get())
    if not client:
        return _OURS
    escaped = re.sub(r"([;()\\])", r"\\\1", client)
    return f"{_OURS} UpstreamClient({escaped})"
