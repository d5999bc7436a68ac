"""A client that lends what builds need, as the command line does: files, credentials, secrets, an agent."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from lighterman.build.session import session_pb2 as pb
from lighterman.lib.go_mode import go_mode

METHODS = (
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
)
"""What it serves."""


class Lender(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    """A client's side, as the command line has it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name

    def service(self, details: Any) -> Any:
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        calls: dict[str, tuple[Any, Any, Any]] = {
            "/moby.filesync.v1.FileSync/DiffCopy": (stream, self.diff_copy, pb.Packet),
            "/moby.filesync.v1.Auth/Credentials": (unary, self.credentials, pb.CredentialsRequest),
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": (unary, self.secret, pb.GetSecretRequest),
            "/moby.sshforward.v1.SSH/CheckAgent": (unary, self.check_agent, pb.CheckAgentRequest),
            "/moby.sshforward.v1.SSH/ForwardAgent": (stream, self.forward_agent, pb.BytesMessage),
        }
        make, call, kind = calls[details.method]
        return make(
            call,
            request_deserializer=kind.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def diff_copy(self, requests: Any, context: Any) -> AsyncIterator[pb.Packet]:
        asked = dict(context.invocation_metadata())
        if asked["dir-name"] != self.name:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'no access allowed to dir "{asked["dir-name"]}"')
        files = {}
        for number, path in enumerate(sorted(self.directory.rglob("*"))):
            found = path.lstat()
            files[number] = path
            yield pb.Packet(
                type=pb.Packet.STAT,
                stat=pb.Stat(
                    path=str(path.relative_to(self.directory)),
                    mode=go_mode(found.st_mode),
                    size=found.st_size,
                    mod_time=found.st_mtime_ns,
                    linkname=os.readlink(path) if path.is_symlink() else "",
                ),
            )
        yield pb.Packet(type=pb.Packet.STAT)
        async for request in requests:
            if request.type == pb.Packet.FIN:
                yield pb.Packet(type=pb.Packet.FIN)
                return
            data = files[request.id].read_bytes()
            for at in range(0, len(data), 32768):
                yield pb.Packet(type=pb.Packet.DATA, id=request.id, data=data[at : at + 32768])
            yield pb.Packet(type=pb.Packet.DATA, id=request.id)

    async def credentials(self, request: Any, context: Any) -> pb.CredentialsResponse:
        secrets = {"h:5000": ("me", "pw"), "token": ("<token>", "tk")}
        username, secret = secrets.get(request.host, ("", ""))
        return pb.CredentialsResponse(username=username, secret=secret)

    async def secret(self, request: Any, context: Any) -> pb.GetSecretResponse:
        if request.id != "s":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"secret {request.id} not found")
        return pb.GetSecretResponse(data=b"hidden")

    async def check_agent(self, request: Any, context: Any) -> pb.CheckAgentResponse:
        if request.id != "default":
            await context.abort(grpc.StatusCode.UNKNOWN, f"unset ssh forward key {request.id}")
        return pb.CheckAgentResponse()

    async def forward_agent(self, requests: Any, context: Any) -> AsyncIterator[pb.BytesMessage]:
        assert dict(context.invocation_metadata())["buildkit.ssh.id"] == "default"
        async for request in requests:
            yield pb.BytesMessage(data=request.data.upper())


async def serving(directory: Path, socket: Path, *, name: str = "") -> grpc.aio.Server:
    """A server that lends `directory` by this name to whoever connects to `socket`."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Lender(directory, name),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server
