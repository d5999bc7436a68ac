"""An archive of images becomes a tar stream: small members as they are, layers unpacked from their blobs.

The directory of all blobs is the one thing that the worker sees. A layer's size stands in its header, before
it is unpacked; so a blob that does not hold what it promised ends the stream, and is never padded.
"""

import os
from collections.abc import Sequence

import msgspec

from lighterman.content.jobs import BlobMember, LinkMember, Member, TextMember, Written
from lighterman.content.pack import Plain
from lighterman.content.streams import Broken, ahead, decompressed, peeked, read
from lighterman.lib import tar

AHEAD_FROM_BYTES = 4 << 20
"""Unpacked size from which a thread of its own gunzips while this one writes."""


_decode = msgspec.msgpack.Decoder(list[Member]).decode


def save(fds: Sequence[int]) -> Written:
    """Do it. Raises: OSError, Broken."""
    blobs, plan, out = fds
    output = Plain(out)
    for member in _decode(b"".join(read(plan))):
        match member:
            case TextMember(name, data, mtime_ns):
                kind = tar.DIRECTORY if name.endswith("/") else tar.FILE
                mode = 0o755 if kind == tar.DIRECTORY else 0o644
                entry = tar.Entry(name.encode(), kind, mode, size=len(data), mtime_ns=mtime_ns)
                output.put(tar.header(entry))
                output.put(data + bytes(-len(data) % tar.BLOCK))
            case LinkMember(name, target, mtime_ns):
                link = target.encode()
                entry = tar.Entry(name.encode(), tar.SYMBOLIC_LINK, 0o777, link=link, mtime_ns=mtime_ns)
                output.put(tar.header(entry))
            case BlobMember():
                _blob(output, blobs, member)
    output.put(tar.END)
    output.finish()
    return Written()


def _blob(output: Plain, blobs: int, member: BlobMember) -> None:
    size = member.tar_bytes
    output.put(tar.header(tar.Entry(member.name.encode(), tar.FILE, 0o644, size=size)))
    fd = _open(blobs, member.digest)
    try:
        kind, chunks = peeked(read(fd))
        flow = decompressed(kind, chunks)
        left = size
        for chunk in ahead(flow) if size >= AHEAD_FROM_BYTES else flow:
            left -= len(chunk)
            output.put(chunk)
    finally:
        os.close(fd)
    if left:
        raise Broken(f"the blob {member.digest} does not hold {size} bytes")
    output.put(bytes(-size % tar.BLOCK))


def _open(blobs: int, digest: str) -> int:
    algorithm, _, digits = digest.partition(":")
    return os.open(f"{algorithm}/{digits[:2]}/{digits}", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=blobs)
