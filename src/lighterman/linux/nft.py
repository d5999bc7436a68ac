"""nftables in this process, by libnftables: texts of the nft language in, JSON out.

One run is one transaction: all of the text is done or nothing. Source: libnftables(3), nft(8),
libnftables-json(5).
"""

import ctypes
import json
from ctypes import c_char_p, c_int, c_uint, c_void_p
from typing import Any

_LIBRARY = "libnftables.so.1"
_NFT_CTX_OUTPUT_JSON = 1 << 4


class NftError(Exception):
    """nft's own words about what it refused."""


class Nft:
    """A context of libnftables. For one thread at a time; it acts in the namespace of the calling thread.

    Raises: OSError at first use when the library is not installed.
    """

    def __init__(self) -> None:
        self._library = _load()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise MemoryError("nft_ctx_new")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_output_set_flags(self._context, _NFT_CTX_OUTPUT_JSON)

    def close(self) -> None:
        """Free the context."""
        self._library.nft_ctx_free(self._context)

    def run(self, text: str) -> list[dict[str, Any]]:
        """Do `text` as one transaction; what a `list` in it answers, else nothing.

        Raises: NftError with what nft says.
        """
        failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._library.nft_ctx_get_output_buffer(self._context)
        errors = self._library.nft_ctx_get_error_buffer(self._context)  # reading empties both
        if failed:
            raise NftError(errors.decode(errors="replace").strip())
        if not output.strip():
            return []
        answer: list[dict[str, Any]] = json.loads(output)["nftables"]
        return answer


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(_LIBRARY)
    library.nft_ctx_new.argtypes, library.nft_ctx_new.restype = (c_uint,), c_void_p
    library.nft_ctx_free.argtypes, library.nft_ctx_free.restype = (c_void_p,), None
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        function = getattr(library, name)
        function.argtypes, function.restype = (c_void_p,), c_int
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        function = getattr(library, name)
        function.argtypes, function.restype = (c_void_p,), c_char_p
    library.nft_ctx_output_set_flags.argtypes = (c_void_p, c_uint)
    library.nft_ctx_output_set_flags.restype = None
    library.nft_run_cmd_from_buffer.argtypes = (c_void_p, c_char_p)
    library.nft_run_cmd_from_buffer.restype = c_int
    return library
