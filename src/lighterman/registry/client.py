"""A client of registries."""

from collections.abc import Sequence


class Registry:
    """How this engine talks to registries; it holds no connection and no credentials."""

    def __init__(self, *, insecure: Sequence[str] = ("127.0.0.0/8",)) -> None:
        raise NotImplementedError
