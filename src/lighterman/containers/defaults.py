"""What the operator decided for containers that say nothing of it: each is resolved when one is made, but for
the init, which dockerd decides on at each start."""

from msgspec import Struct

from lighterman.apitypes.container import Ulimit
from lighterman.errdefs import InvalidParameter
from lighterman.oci.defaults import DEFAULT_SHM_BYTES


class Defaults(Struct, frozen=True):
    """dockerd's options default-*, no-new-privileges and init."""

    shm_bytes: int = DEFAULT_SHM_BYTES
    ipc_mode: str = "private"
    cgroupns_mode: str = ""  # "": private on cgroup v2, else the host's
    ulimits: tuple[Ulimit, ...] = ()
    no_new_privileges: bool = False
    init: bool = False

    def runs_init(self, wished: bool | None, path: str) -> bool:
        """Whether a container's command runs under an init, which is at `path`. Raises: InvalidParameter."""
        runs = self.init if wished is None else wished
        if runs and not path:
            raise InvalidParameter("no init is installed on this host (tini or docker-init)")
        return runs

    def with_ulimits(self, wished: list[Ulimit] | None) -> list[Ulimit] | None:
        """The limits wished, then those of here that the wish does not name."""
        named = {ulimit.name for ulimit in wished or ()}
        return [*(wished or ()), *(ulimit for ulimit in self.ulimits if ulimit.name not in named)] or wished
