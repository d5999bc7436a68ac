"""A value that is made when it is first asked for, once, whoever asks from whatever thread."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Called, it gives what `make` gave the first time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[T] | None = None

    @property
    def made(self) -> T | None:
        """The value, if anybody has asked for it."""
        return self._made[0] if self._made else None

    def __call__(self) -> T:
        """The value. Blocks as long as `make` does."""
        with self._lock:
            if self._made is None:
                self._made = (self._make(),)
            return self._made[0]
