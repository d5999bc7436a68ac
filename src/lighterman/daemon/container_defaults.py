"""The options that decide about containers which say nothing of it, as the containers take them."""

from pathlib import Path

from lighterman.apitypes.container import Ulimit
from lighterman.containers import Defaults
from lighterman.containers.limits import check_ulimit
from lighterman.containers.log_values import size_bytes
from lighterman.daemon.config import EngineConfig
from lighterman.errdefs import InvalidParameter
from lighterman.oci.seccomp import parse_profile

UNCONFINED = "unconfined"


def container_defaults(config: EngineConfig) -> Defaults:
    """Raises: InvalidParameter in dockerd's words for a value that cannot be meant."""
    if config.default_ipc_mode not in ("private", "shareable"):
        raise InvalidParameter(
            f"IPC mode: {config.default_ipc_mode} is not supported; use private or shareable"
        )
    if config.default_cgroupns_mode not in ("", "private", "host"):
        raise InvalidParameter(
            f"invalid default cgroup namespace ({config.default_cgroupns_mode}): use 'host' or 'private'"
        )
    shm_bytes = size_bytes(config.default_shm_size, base=1024)
    if shm_bytes == 0:
        raise InvalidParameter(f"invalid default-shm-size: {config.default_shm_size!r}")
    ulimits = tuple(
        Ulimit(name, soft=limit.soft, hard=limit.hard) for name, limit in config.default_ulimits.items()
    )
    for ulimit in ulimits:
        check_ulimit(ulimit)
    return Defaults(
        shm_bytes=shm_bytes,
        ipc_mode=config.default_ipc_mode,
        cgroupns_mode=config.default_cgroupns_mode,
        ulimits=ulimits,
        no_new_privileges=config.no_new_privileges,
        init=config.init,
    )


def seccomp_profile(config: EngineConfig) -> str:
    """The profile of containers that name none: its text, "unconfined", or "" for the engine's own.

    Raises: InvalidParameter when the file cannot be read or holds no profile.
    """
    path = config.seccomp_profile
    if path in ("", "builtin", "default"):
        return ""
    if path == UNCONFINED:
        return path
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"opening seccomp profile ({path}) failed: {error}") from error
    parse_profile(text)
    return text
