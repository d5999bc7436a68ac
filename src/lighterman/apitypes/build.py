"""What builds leave behind, on the wire. Source: BuildCache and BuildPruneResponse of the API."""

from msgspec import field

from lighterman.apitypes.wire import Wire


class BuildCache(Wire, frozen=True, kw_only=True):
    """One thing that a later build can use again. Sizes in bytes, times as RFC 3339."""

    id: str = field(name="ID")
    parent: str = ""
    type: str
    """`regular` is a step, `exec.cachemount` a directory of RUN --mount=type=cache."""
    description: str
    in_use: bool
    shared: bool
    """Its bytes are counted with the images."""
    size: int
    created_at: str
    last_used_at: str | None
    usage_count: int


class BuildPruned(Wire, frozen=True):
    caches_deleted: list[str] | None
    space_reclaimed: int
