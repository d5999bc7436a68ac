"""Images: names, histories, and how they come and go."""

from collections.abc import AsyncIterator, Mapping

import msgspec

from lighterman import containers
from lighterman.api import errors, gates
from lighterman.api.credentials import registry_auth
from lighterman.api.decode import decode
from lighterman.api.request import TAR, Answer, Reply, Request, Stream, ended, reply
from lighterman.api.rooms import Rooms
from lighterman.apitypes.container import ContainerConfig
from lighterman.apitypes.image import ImageCommitted, Progress, failure
from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.images import ImportWish
from lighterman.lib.filters import Filters

SEARCH_LIMIT = 25
"""Results of a search that asks for no number. Source: DefaultSearchLimit of moby."""


async def list_(request: Request, rooms: Rooms) -> Answer:
    """ImageList. `filter` is the reference filter of clients before 1.25; dockerd reads it below 1.41."""
    filters = request.filters()
    if wanted := request.text("filter"):
        filters = Filters({**filters.wanted, "reference": (*filters.get("reference"), wanted)})
    shared = request.version >= (1, 42) and request.flag("shared-size")
    found = rooms.images.list(filters, all=request.flag("all"), shared_size=shared)
    return reply([gates.gated(one, gates.IMAGE_SUMMARY, request.version) for one in found])


async def create(request: Request, rooms: Rooms) -> Answer:
    """ImageCreate: pull from a registry (`fromImage`) or import from the body (`fromSrc=-`)."""
    platform = request.text("platform") if request.version >= (1, 32) else ""
    if name := request.text("fromImage"):
        pulled = await rooms.images.pull(
            name, request.text("tag"), platform=platform, auth=registry_auth(request.headers)
        )
        return progress(pulled)
    source = request.text("fromSrc")
    if not source:
        raise InvalidParameter('Get "http:": http: no Host in request URL')
    wish = ImportWish(
        repo=request.text("repo"),
        tag=request.text("tag"),
        message=request.text("message"),
        changes=request.texts("changes"),
        platform=platform,
    )
    if source == "-":
        return progress(await rooms.images.import_(request.chunks(), wish))
    return progress(await rooms.images.import_url(source, wish))


def _line(message: Progress) -> bytes:
    return msgspec.json.encode(message) + b"\r\n"


def progress(messages: AsyncIterator[Progress], headers: Mapping[str, str] | None = None) -> Stream:
    """Progress as the wire has it. The head goes with the first. Source: moby, pkg/ioutils, WriteFlusher."""
    return Stream(_lines(messages), headers=headers or {}, head_at_once=False)


async def _lines(messages: AsyncIterator[Progress]) -> AsyncIterator[bytes]:
    """Each message; a failure is the last one, under the status of a success."""
    try:
        async with ended(messages):
            async for message in messages:
                yield _line(message)
    except Exception as error:  # the border: here errors become answers
        errors.status_of(error)
        yield _line(failure(str(error)))


async def inspect(request: Request, rooms: Rooms) -> Answer:
    """ImageInspect."""
    found = rooms.images.inspect(request.names["name"])
    return reply(gates.gated(found, gates.IMAGE_INSPECT, request.version))


async def history(request: Request, rooms: Rooms) -> Answer:
    """ImageHistory."""
    return reply(rooms.images.history(request.names["name"]))


async def tag(request: Request, rooms: Rooms) -> Answer:
    """ImageTag."""
    await rooms.images.tag(request.names["name"], request.text("repo"), request.text("tag"))
    return Reply(201)


async def delete(request: Request, rooms: Rooms) -> Answer:
    """ImageDelete."""
    return reply(
        await rooms.images.delete(
            request.names["name"], force=request.flag("force"), noprune=request.flag("noprune")
        )
    )


async def prune(request: Request, rooms: Rooms) -> Answer:
    """ImagePrune."""
    return reply(await rooms.images.prune(request.filters()))


async def load(request: Request, rooms: Rooms) -> Answer:
    """ImageLoad."""
    return progress(rooms.images.load(request.chunks(), quiet=request.flag("quiet", default=True)))


async def get(request: Request, rooms: Rooms) -> Answer:
    """ImageGet."""
    return Stream(rooms.images.save([request.names["name"]]), TAR)


async def get_all(request: Request, rooms: Rooms) -> Answer:
    """ImageGetAll."""
    return Stream(rooms.images.save(request.texts("names")), TAR)


async def push(request: Request, rooms: Rooms) -> Answer:
    """ImagePush. The credentials are in a header, or in the body as with clients of old."""
    if request.headers.get("X-Registry-Auth", ""):
        auth = registry_auth(request.headers)
    else:
        try:
            auth = decode(await request.read(), AuthConfig)
        except InvalidParameter as error:
            raise InvalidParameter(f"Bad parameters and missing X-Registry-Auth: {error}") from error
    return progress(await rooms.images.push(request.names["name"], request.text("tag"), auth=auth))


async def search(request: Request, rooms: Rooms) -> Answer:
    """ImageSearch."""
    limit = request.integer("limit") if request.text("limit") else SEARCH_LIMIT
    found = await rooms.images.search(
        request.text("term"), limit=limit, filters=request.filters(), auth=registry_auth(request.headers)
    )
    return reply(found)


async def distribution(request: Request, rooms: Rooms) -> Answer:
    """DistributionInspect."""
    return reply(await rooms.images.distribution(request.names["name"], auth=registry_auth(request.headers)))


async def commit(request: Request, rooms: Rooms) -> Answer:
    """ImageCommit. The body, the configuration to start from, may be missing."""
    request.check_json()
    body = await request.read()
    options = containers.CommitOptions(
        repo=request.text("repo"),
        tag=request.text("tag"),
        author=request.text("author"),
        comment=request.text("comment"),
        changes=request.texts("changes"),
        pause=request.flag("pause") if request.text("pause") else True,
        config=decode(body, ContainerConfig) if body.strip() not in (b"", b"null") else None,
    )
    made = await containers.commit(rooms.containers, request.text("container"), options)
    return reply(ImageCommitted(made), 201)
