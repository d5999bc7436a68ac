"""What the operator decided for containers that say nothing of it: each is resolved when one is made."""

from msgspec import Struct

from lighterman.apitypes.container import Ulimit
from lighterman.oci.defaults import DEFAULT_SHM_BYTES


class Defaults(Struct, frozen=True):
    """dockerd's options default-*, no-new-privileges and init. A container keeps what it was made with."""

    shm_bytes: int = DEFAULT_SHM_BYTES
    ipc_mode: str = "private"
    cgroupns_mode: str = ""  # "": private on cgroup v2, else the host's
    ulimits: tuple[Ulimit, ...] = ()
    no_new_privileges: bool = False
    init: bool = False

    def with_ulimits(self, wished: list[Ulimit] | None) -> list[Ulimit] | None:
        """The limits wished, then those of here that the wish does not name."""
        named = {ulimit.name for ulimit in wished or ()}
        return [*(wished or ()), *(ulimit for ulimit in self.ulimits if ulimit.name not in named)] or wished
