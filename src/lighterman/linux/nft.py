"""nftables in this process, by libnftables: texts of the nft language in, JSON out.

One run is one transaction: all of the text is done or nothing. `NftMonitor` hears of every transaction on
the host, with the thread that made it. Source: libnftables(3), nft(8), libnftables-json(5),
linux/netfilter/nf_tables.h.
"""

import ctypes
import json
import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from ctypes import c_char_p, c_int, c_uint, c_void_p
from typing import Any

from lighterman.linux.netlink import unpack

_LIBRARY = "libnftables.so.1"
_NFT_CTX_OUTPUT_JSON = 1 << 4


_NETLINK_NETFILTER, _NFNLGRP_NFTABLES = 12, 7
_NFNL_SUBSYS_NFTABLES, _NFT_MSG_NEWGEN = 10, 15
_NFTA_TABLE_NAME, _NFTA_GEN_PROC_PID = 1, 2  # every object names its table in attribute 1
_NFPROTO_INET = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_GENERIC = 4  # nfgenmsg: family, version, resource


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


class NftMonitor:
    """Hears of all transactions in the namespace of the thread that made it."""

    def __init__(self) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            _NETLINK_NETFILTER,
        )
        self.socket.bind((0, 1 << (_NFNLGRP_NFTABLES - 1)))
        self._touched: set[str] = set()

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()

    def changes(self) -> Iterator[tuple[int, frozenset[str]]]:
        """What came since the last call: for each transaction the id of its thread and the names of the
        `inet` tables that it touched.

        Raises: OSError (ENOBUFS: so much came that some of it is lost).
        """
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            yield from self._parsed(data)

    def _parsed(self, data: bytes) -> Iterator[tuple[int, frozenset[str]]]:
        at = 0
        while at < len(data):
            length, kind, *_rest = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + length]
            attributes = unpack(body[_GENERIC:])
            if kind == _NFNL_SUBSYS_NFTABLES << 8 | _NFT_MSG_NEWGEN:
                thread = int.from_bytes(attributes.get(_NFTA_GEN_PROC_PID, b""), "big")
                yield thread, frozenset(self._touched)
                self._touched.clear()
            elif body[0] == _NFPROTO_INET:
                self._touched.add(attributes.get(_NFTA_TABLE_NAME, b"").rstrip(b"\0").decode())
            at += (length + 3) & ~3


def own_thread(nft: Nft) -> int:
    """The id under which `NftMonitor` tells of the calling thread: that of the first pid namespace.

    Who lives in another one, as an engine in a container does, cannot look it up: so a table comes and goes
    in one transaction, to see whose it was. Raises: NftError.
    """
    mark = f"thread-{secrets.token_hex(8)}"
    with closing(NftMonitor()) as monitor:
        nft.run(f"add table inet {mark}\ndelete table inet {mark}\n")
        return next(thread for thread, tables in monitor.changes() if mark in tables)


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
