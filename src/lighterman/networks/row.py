"""What is kept of a network."""

import msgspec


class NetworkRow(msgspec.Struct, frozen=True):
    """One network of this engine: the wish as it came, and what was decided of it."""

    id: str
    name: str
    driver: str  # bridge, host, null
    created_ns: int
    bridge: str = ""  # the name of its link
    subnet: str = ""  # "172.17.0.0/16"
    gateway: str = ""  # the bridge's own address
    ip_range: str = ""  # where addresses are chosen from; "" is the whole subnet
    gateway_wished: bool = False  # inspect tells a gateway only when it was asked for, as dockerd 20.10
    auxiliary: dict[str, str] = {}
    ipam_options: dict[str, str] | None = None
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}

    @property
    def predefined(self) -> bool:
        """Whether it always exists and cannot be removed."""
        return self.name in ("bridge", "host", "none")

    @property
    def is_default_bridge(self) -> bool:
        """The one bridge without aliases, static addresses and name service."""
        return self.name == "bridge"
