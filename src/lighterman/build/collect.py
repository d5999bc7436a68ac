"""What is left of builds is kept within bounds that the operator has set, after each build.

A *rule* says what may go, and how many bytes of it may stay; rules are followed one after the other. What
images with a name need is not looked at: its bytes are theirs. Source: BuildKit's garbage collection, as
dockerd's daemon.json has it under `builder.gc`.
"""

from collections.abc import Sequence
from math import e, pi

from msgspec import Struct

from lighterman.lib.filters import Filters

_GOLDEN = 1.618033988749895
_LEAST_SHORT_BYTES = 512 * 10**6


class Rule(Struct, frozen=True):
    """Of what the filters mean, the longest unused goes until `keep_bytes` are left (0: all of it).

    With `all` the results of builds go too, if they have no name.
    """

    filters: Filters = Filters()
    keep_bytes: int = 0
    all: bool = False


def default_rules(keep_bytes: int) -> Sequence[Rule]:
    """The rules of whoever names none: cache mounts after two days, anything after sixty, the rest by size.

    dockerd's last rule takes BuildKit's internals too, which are not here. Source: DefaultGCPolicy of moby.
    """
    short_bytes = max(round(keep_bytes / 100 * e * pi * _GOLDEN), _LEAST_SHORT_BYTES)
    mounts = Filters({"type": ("exec.cachemount",), "unused-for": ("48h",)})
    return (
        Rule(mounts, short_bytes),
        Rule(Filters({"unused-for": ("1440h",)}), keep_bytes),
        Rule(keep_bytes=keep_bytes),
    )
