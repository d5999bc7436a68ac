"""Files of containers: `docker cp`, `docker export`, `docker diff`."""

import re
from base64 import b64encode

from lighterman import containers
from lighterman.api.decode import encode
from lighterman.api.request import Answer, Reply, Request, Stream, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.archive import ContainerPathStat

TAR = "application/x-tar"
BYTES = "application/octet-stream"
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?(?:,|$)", re.I)


async def info(request: Request, rooms: Rooms) -> Answer:
    """ContainerArchiveInfo."""
    found = await containers.path_stat(rooms.containers, request.names["id"], request.text("path"))
    return Reply(headers=_told(found))


async def get(request: Request, rooms: Rooms) -> Answer:
    """ContainerArchive. Compressed for who asks for it, as dockerd; its own clients do not."""
    gzip = accepts_gzip(request.headers.get("Accept-Encoding", ""))
    found, pieces = await containers.archive(
        rooms.containers, request.names["id"], request.text("path"), gzip=gzip
    )
    encoding = {"Content-Encoding": "gzip"} if gzip else {}
    return Stream(pieces, TAR, _told(found) | encoding)


async def put(request: Request, rooms: Rooms) -> Answer:
    """PutContainerArchive. The label of the body is not looked at: clients send several."""
    await containers.put_archive(
        rooms.containers,
        request.names["id"],
        request.text("path"),
        request.chunks(),
        keep_kinds=request.flag("noOverwriteDirNonDir"),
        to_user=request.flag("copyUIDGID"),
    )
    return Reply()


async def export(request: Request, rooms: Rooms) -> Answer:
    """ContainerExport."""
    return Stream(containers.export(rooms.containers, request.names["id"]), BYTES)


async def changes(request: Request, rooms: Rooms) -> Answer:
    """ContainerChanges."""
    return reply(await containers.changes(rooms.containers, request.names["id"]))


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding has gzip. Source: RFC 9110, section 12.5.3."""
    found = _GZIP.search(header)
    return found is not None and found[1] not in ("0", "0.0", "0.00", "0.000")


def _told(found: ContainerPathStat) -> dict[str, str]:
    return {"X-Docker-Container-Path-Stat": b64encode(encode(found).strip()).decode()}
