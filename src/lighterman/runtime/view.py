"""What an OCI runtime sees of the host's mounts: all of this moment, but those that disturb it.

crun 1.8 refuses to work where it sees the v2 hierarchy of a hybrid host. One mount namespace for all runtimes
would not do: what the host mounts later comes there only below shared mounts, and a container would be given
the empty directory beneath in place of a disk. So each call of a runtime gets a namespace made anew, which
ends with it: nothing of the host stays mounted for our sake. It takes 0.3 ms to come and go.
"""

import os

from lighterman.linux import mount, mount_namespace

_host: list[int] = []
"""The host's mount namespace; empty where all of it may be seen."""
_hidden: list[str] = []


def prepare(hidden: list[str]) -> None:
    """Know what is to be hidden: once, in the zygote, whose children are in the host's namespace too."""
    _hidden.extend(hidden)
    if hidden:
        _host.append(os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))


def enter() -> None:
    """Move to a mount namespace like the host's, where what is mounted at the hidden places is not there.

    What is mounted here in a shared mount still reaches the host. Raises: OSError.
    """
    if _host:
        mount.unshare_mounts()
        for path in _hidden:
            _keep_in(os.path.dirname(path))
            mount.umount(path, detach=True)


def leave() -> None:
    """Come back to the host's namespace, at the same place. Raises: OSError."""
    for host in _host:
        here = os.getcwd()
        mount_namespace.enter(host)
        os.chdir(here)


def _keep_in(path: str) -> None:
    """Let what happens to mounts at `path` be nobody else's business.

    Only there: what a container mounts in a shared volume has to reach the host.
    """
    while True:
        try:
            mount.mount("", path, "", mount.MS_PRIVATE)
            return
        except OSError:
            if path == "/":
                raise
            path = os.path.dirname(path)  # it is no mount itself
