"""What a build knows of its Dockerfile beside the grammar, which is in `lib.dockerfile` (images read it too).

`arguments`: which build arguments are known where, and which of them count for the cache and the history.
"""

from lighterman.build.dockerfile.arguments import PROXIES, BuildArguments

__all__ = ["PROXIES", "BuildArguments"]
