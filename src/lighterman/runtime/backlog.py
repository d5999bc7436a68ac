"""Output that clients have still to be sent: kept once, however many of them are behind.

Three words. A *piece* is what one read gave; a *place* is a piece's number since the beginning; a *reader* is
somebody who has a place and moves it on. What all readers have passed is let go at once, so what is kept is
what the slowest one lacks, and its size says how far behind that one is.
"""

Piece = tuple[int, bytes]
"""The stream, 1 or 2, and its bytes."""
PIECE_OVERHEAD_BYTES = 128
"""What a piece weighs beside its bytes: a process may write them one by one."""


class Backlog:
    """The pieces from the slowest reader's place to `end`."""

    __slots__ = ("_first", "_pieces", "_readers", "end", "size_bytes")

    def __init__(self) -> None:
        self.end = 0
        """The place of the piece that comes next."""
        self.size_bytes = 0
        self._first = 0
        self._pieces: dict[int, Piece] = {}
        self._readers: dict[int, int] = {}
        """How many have this place."""

    def append(self, stream: int, data: bytes) -> None:
        """Keep a piece, if anybody reads."""
        if self._readers:
            self._pieces[self.end] = (stream, data)
            self.size_bytes += len(data) + PIECE_OVERHEAD_BYTES
            self.end += 1

    def __getitem__(self, place: int) -> Piece:
        """A piece that a reader has not passed yet."""
        return self._pieces[place]

    def join(self) -> int:
        """A new reader's place: it gets what comes from now on."""
        self._readers[self.end] = self._readers.get(self.end, 0) + 1
        return self.end

    def move(self, place: int, to: int) -> int:
        """Let a reader pass on; its new place."""
        if to != place:
            self._readers[to] = self._readers.get(to, 0) + 1
            self.leave(place)
        return to

    def leave(self, place: int) -> None:
        """A reader is no more."""
        self._readers[place] -= 1
        if not self._readers[place]:
            del self._readers[place]
            self._let_go()

    def _let_go(self) -> None:
        while self._first < self.end and self._first not in self._readers:
            _, data = self._pieces.pop(self._first)
            self.size_bytes -= len(data) + PIECE_OVERHEAD_BYTES
            self._first += 1
