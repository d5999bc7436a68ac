"""Docker's framing of several output streams on one connection.

A frame is `[stream, 0, 0, 0, length as 4 bytes, big endian]` and `length` bytes. Source: ContainerAttach of
the Engine API. This module is loaded by monitors too: it imports nothing of weight.
"""

STDIN, STDOUT, STDERR, SYSTEM = range(4)
HEADER_BYTES = 8


def header(stream: int, length: int) -> bytes:
    """The 8 bytes before `length` bytes of `stream`."""
    return bytes((stream, 0, 0, 0)) + length.to_bytes(4, "big")


def frame(stream: int, payload: bytes) -> bytes:
    """One whole frame."""
    return header(stream, len(payload)) + payload


class FrameReader:
    """Takes a framed stream apart, however it is cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (stream, payload) of each frame that is complete now."""
        data, at, frames = self._rest + data, 0, []
        while len(data) - at >= 8:
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
            if end > len(data):
                break
            frames.append((data[at], data[at + 8 : end]))
            at = end
        self._rest = data[at:]
        return frames
