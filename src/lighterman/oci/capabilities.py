"""Which capabilities a container gets, in Docker's words: CapAdd, CapDrop, Privileged.

Docker gives what is asked and lets the start fail when the daemon itself does not have it; here everything
is cut to the daemon's bounding set, so that `--privileged` works inside a VM or container that lacks one
(dockerd 20.10 fails there). What was asked by name and cannot be given is told by `unavailable`, for a
warning.
"""

from collections.abc import Collection, Iterable

from lighterman.errdefs import InvalidParameter
from lighterman.linux.capabilities import NAMES
from lighterman.oci.defaults import DEFAULT_CAPABILITIES
from lighterman.oci.spec import Capabilities

ALL = "ALL"


def normalize(names: Iterable[str], field: str) -> tuple[str, ...]:
    """Names as the kernel's: upper case, with CAP_; ALL stays. `field` is CapAdd or CapDrop.

    Raises: InvalidParameter for a name that no kernel knows.
    """
    normal = []
    for name in names:
        upper = name.upper()
        full = upper if upper == ALL or upper.startswith("CAP_") else f"CAP_{upper}"
        if full != ALL and full not in NAMES:
            raise InvalidParameter(f'invalid {field}: unknown capability: "{full}"')
        normal.append(full)
    return tuple(normal)


def effective(
    cap_add: Iterable[str] | None,
    cap_drop: Iterable[str] | None,
    privileged: bool,
    bounding: Collection[str],
) -> tuple[str, ...]:
    """The bounding set of the container, in Docker's order, without what the host itself lacks.

    ALL in CapAdd wins over ALL in CapDrop; names in CapDrop are taken away from it. With ALL in CapDrop, or
    with names only, CapAdd comes last: what is dropped and added is added. Privileged is everything.

    Raises: InvalidParameter for unknown names. Source: dockerd 20.10.24, and moby's TweakCapabilities.
    """
    adds = normalize(cap_add or (), "CapAdd")
    drops = normalize(cap_drop or (), "CapDrop")
    if privileged:
        wanted: tuple[str, ...] = NAMES
    elif ALL in adds:
        wanted = tuple(name for name in NAMES if name not in drops)
    elif ALL in drops:
        wanted = adds
    else:
        wanted = (*(name for name in DEFAULT_CAPABILITIES if name not in drops), *adds)
    return tuple(name for name in dict.fromkeys(wanted) if name in bounding)


def unavailable(cap_add: Iterable[str] | None, bounding: Collection[str]) -> tuple[str, ...]:
    """The capabilities asked for by name that this host cannot give. Raises InvalidParameter as above."""
    return tuple(name for name in normalize(cap_add or (), "CapAdd") if name != ALL and name not in bounding)


def process_capabilities(bounding: tuple[str, ...], uid: int) -> Capabilities:
    """The sets of a process: root has its bounding set, others have nothing until they run a setuid program.

    Inheritable and ambient stay empty (CVE-2022-24769). Source: measured on dockerd 20.10.24.
    """
    if uid == 0:
        return Capabilities(bounding=bounding, effective=bounding, permitted=bounding)
    return Capabilities(bounding=bounding)
