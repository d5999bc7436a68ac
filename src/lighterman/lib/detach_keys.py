"""Detach keys: the sequence by which a user leaves a container's terminal without ending it.

`parse` reads the user's wish ("ctrl-p,ctrl-q"), `DetachKeys` finds the sequence in a stream, however it is
cut. This module is loaded by monitors too: it imports nothing of weight.
"""

from lighterman.errdefs import InvalidParameter

DEFAULT = b"\x10\x11"
"""ctrl-p,ctrl-q"""
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q", "a,b", "DEL", ...

    Raises: InvalidParameter in dockerd's words. Source: ToBytes of moby/term; recorded text of 20.10.
    """
    codes = bytearray()
    for key in text.split(","):
        letter = key.removeprefix("ctrl-")
        if len(key) == 1 and key.isascii():
            codes += key.encode()
        elif key == "DEL":
            codes.append(127)
        elif key != letter and len(letter) == 1 and letter in _CONTROL:
            codes.append(_CONTROL.index(letter))
        else:
            raise InvalidParameter(f"Invalid detach keys ({text}) provided")
    return bytes(codes)


class DetachKeys:
    """Looks for the sequence `keys` in a stream of input. b"" is never found."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What may be passed on now, and whether the sequence was found: then nothing behind it counts.

        The beginning of a possible sequence is held back until the next byte tells.
        """
        if not self._keys:
            return data, False
        data = self._held + data
        before, found, _ = data.partition(self._keys)
        if found:
            self._held = b""
            return before, True
        held = next((n for n in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:n])), 0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held], False

    def flush(self) -> bytes:
        """What was held back, when the input has ended: it was no sequence."""
        held, self._held = self._held, b""
        return held
