"""What the swarm signs with. Its readers are managers; the API tells the certificate, never a key."""

from msgspec import Struct

from lighterman.swarm.state.kinds import Stored


class Rotation(Struct, frozen=True, omit_defaults=True):
    """A root that is to take the place of the present one, as soon as every node's certificate is of it."""

    certificate: str
    key: str
    cross_signed: str
    """The new root, signed by the present one."""


class Authority(Stored, frozen=True):
    """The one of the cluster. `id` is the cluster's; texts are PEM."""

    certificate: str
    """The root that nodes trust, and that join tokens name."""
    key: str
    peer_certificate: str
    """The root of etcd's members: only managers get certificates of it."""
    peer_key: str
    unlock_key: bytes = b""
    """Of managers that lock; b"" when they do not."""
    rotation: Rotation | None = None
    data_key: str = ""
    """The id of the data key that seals what is stored; "" is the swarm's first."""
    resealed: str = ""
    """The data key that everything is sealed with by now."""
    forced: int = 0
    """The `ForceRotate` that was done last."""
