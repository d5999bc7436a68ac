"""An epoll loop that a monitor can afford: fds, and what to call when they are ready."""

import select
from _collections_abc import Callable

IN, OUT = select.EPOLLIN, select.EPOLLOUT
HALF_CLOSED, CLOSED, BROKEN = select.EPOLLRDHUP, select.EPOLLHUP, select.EPOLLERR


class Loop:
    """Level-triggered. A mask of 0 still hears CLOSED and BROKEN: who does not want them forgets the fd."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}

    def watch(self, fd: int, mask: int, ready: Callable[[int], None]) -> None:
        """Call `ready` with the events of `fd`; watched already, its mask is changed."""
        if self._masks.get(fd) == mask:
            return
        if fd in self._masks:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._masks[fd], self._ready[fd] = mask, ready

    def forget(self, fd: int) -> None:
        """Watch `fd` no longer, if it was; to be done before it is closed."""
        if self._masks.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            del self._ready[fd]

    def turn(self, timeout_s: float | None) -> None:
        """Wait for events and call for each."""
        for fd, events in self._epoll.poll(timeout_s):
            ready = self._ready.get(fd)
            if ready is not None:  # forgotten by one of the calls before
                ready(events)
