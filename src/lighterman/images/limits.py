"""How much is transferred at a time, as dockerd's options of these names say."""

import asyncio

from msgspec import Struct

_NO_LIMIT = 1 << 20


class Limits(Struct, frozen=True):
    """0 is no limit. Source: max-concurrent-downloads, max-concurrent-uploads, max-download-attempts."""

    downloads: int = 3
    uploads: int = 5
    download_attempts: int = 5
    """Connections to get one layer, without a MiB of progress between them."""


def slots(limit: int) -> asyncio.Semaphore:
    """What lets so many in at a time."""
    return asyncio.Semaphore(limit or _NO_LIMIT)
