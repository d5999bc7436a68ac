"""Messages with file descriptors over Unix sockets.

Monitors load this module: it takes the plain `_socket.socket`, of which `socket.socket` is a kind, since
`socket` brings `enum` and `selectors`.
"""

import _socket
import sys

_INT = 4
_MAX_FDS = 253  # SCM_MAX_FD: the kernel sends no more


def send(sock: _socket.socket, message: bytes, fds: list[int] | None = None) -> None:
    """Send one message of a SEQPACKET socket, and copies of `fds` with it.

    Raises: OSError (EAGAIN when the socket does not block and the peer does not read, EPIPE, EMSGSIZE).
    Source: unix(7).
    """
    numbers = b"".join(fd.to_bytes(_INT, sys.byteorder) for fd in fds or ())
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)] if numbers else []
    sock.sendmsg([message], rights, _socket.MSG_NOSIGNAL)


def receive(sock: _socket.socket, size: int = 1 << 18) -> tuple[bytes, list[int]]:
    """One message of at most `size` bytes and its new close-on-exec fds; b"": the peer has closed.

    Raises: OSError (EAGAIN, ECONNRESET).
    """
    room = _socket.CMSG_SPACE(_MAX_FDS * _INT)
    message, ancillary, _, _ = sock.recvmsg(size, room, _socket.MSG_CMSG_CLOEXEC)
    fds = []
    for level, kind, content in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            whole = len(content) - len(content) % _INT
            fds += [int.from_bytes(content[at : at + _INT], sys.byteorder) for at in range(0, whole, _INT)]
    return message, fds
