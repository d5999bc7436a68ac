"""Real containers without an engine: a zygote, monitors, an OCI runtime and a root of busybox."""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lighterman.lib.frames import FrameReader
from lighterman.lib.json_log import Line, decode_lines
from lighterman.linux.cgroup import cgroup_path
from lighterman.linux.host import probe_host
from lighterman.oci import spec as oci
from lighterman.runtime import AttachTo, Client, Exit, LogFile, ProcessIO, Running, Runtime, Shipped

SECCOMP = oci.LinuxSeccomp(
    default_action="SCMP_ACT_ALLOW",
    architectures=("SCMP_ARCH_X86_64",),
    syscalls=(oci.Syscall(names=("keyctl",), action="SCMP_ACT_ERRNO", errno_ret=1),),
)
ALL = AttachTo(stdin=True, stdout=True, stderr=True, detach_keys=b"", framed=False)


def process(args: Sequence[str], *, tty: bool = False) -> oci.Process:
    return oci.Process(
        terminal=tty, user=oci.User(uid=0, gid=0), args=tuple(args), env=("PATH=/bin", "TERM=xterm"), cwd="/"
    )


@dataclass
class Bench:
    """A runtime, what it told, and a root to run in. `restart` is a daemon killed and started again."""

    tmp: Path
    root: Path
    memory_bytes: int = -1
    cgroup_parent: str = field(default_factory=lambda: f"/lmt-{secrets.token_hex(4)}")
    runtime: Runtime = field(init=False)
    exits: "asyncio.Queue[tuple[str, Exit]]" = field(default_factory=asyncio.Queue)
    exec_exits: "asyncio.Queue[tuple[str, str, Exit]]" = field(default_factory=asyncio.Queue)
    detached: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    exec_detached: "asyncio.Queue[tuple[str, str]]" = field(default_factory=asyncio.Queue)
    ids: list[str] = field(default_factory=list)

    @property
    def exec_root(self) -> Path:
        return self.tmp / "exec"

    async def open(self, default: str | None = None) -> None:
        self.runtime = await Runtime.open(
            exec_root=self.exec_root,
            data_root=self.tmp / "data",
            host=probe_host(),
            default_runtime=default,
            runtimes={},
            on_exit=lambda id, end: self.exits.put((id, end)),
            on_exec_exit=lambda id, exec_id, end: self.exec_exits.put((id, exec_id, end)),
            on_detach=self.detached.put_nowait,
            on_exec_detach=lambda id, exec_id: self.exec_detached.put_nowait((id, exec_id)),
        )

    def spec(self, id: str, args: Sequence[str], *, tty: bool = False) -> bytes:
        return oci.encode(
            oci.Spec(
                oci_version=oci.OCI_VERSION,
                process=process(args, tty=tty),
                root=oci.Root(path=str(self.root), readonly=True),
                mounts=(
                    oci.Mount(destination="/proc", type="proc", source="proc"),
                    oci.Mount(destination="/dev", type="tmpfs", source="tmpfs"),
                    oci.Mount(destination="/dev/pts", type="devpts", source="devpts"),
                ),
                linux=oci.Linux(
                    cgroups_path=cgroup_path(id, self.cgroup_parent),
                    resources=oci.Resources(memory=oci.Memory(limit=self.memory_bytes)),
                    namespaces=tuple(oci.Namespace(type=kind) for kind in ("pid", "mount", "ipc", "uts")),
                ),
            )
        )

    async def run(
        self,
        *args: str,
        tty: bool = False,
        stdin: bool = False,
        once: bool = False,
        log: bool = True,
        size: tuple[int, int] | None = None,
        runtime: str = "",
        attached: Sequence[tuple[Client, AttachTo]] = (),
        max_size_bytes: int = 0,
        max_files: int = 1,
        form: str = "json",
        compress: bool = False,
        shipped: Shipped | None = None,
    ) -> tuple[str, Running]:
        id = secrets.token_hex(32)
        self.ids.append(id)
        file = LogFile(str(self.log(id)), max_size_bytes, max_files, form=form, compress=compress)
        io = ProcessIO(
            tty=tty, stdin=stdin, stdin_once=once, log=file if log else None, size=size, shipped=shipped
        )
        spec = self.spec(id, args, tty=tty)
        return id, await self.runtime.run(id, spec, io, runtime=runtime, seccomp=SECCOMP, attached=attached)

    def log(self, id: str) -> Path:
        return self.tmp / f"{id}-json.log"

    def logged(self, id: str) -> list[Line]:
        return decode_lines(self.log(id).read_bytes())

    def text(self, id: str) -> str:
        return "".join(line.log for line in self.logged(id))

    async def exit(self) -> Exit:
        """The next end that is told."""
        return (await asyncio.wait_for(self.exits.get(), 20))[1]

    async def close(self) -> None:
        for id in self.ids:
            await self.runtime.delete(id)
        await self.runtime.close()


class Peer:
    """The client's side of a stream."""

    def __init__(self, *, early: bytes = b"", head: bytes = b"") -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.setblocking(False)
        self.client = Client(theirs, early, head)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def read(self, size: int = 1 << 16) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, size), 20)

    async def read_all(self) -> bytes:
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def read_until(self, end: bytes) -> bytes:
        seen = b""
        while not seen.endswith(end):
            piece = await self.read()
            assert piece, f"the stream ended after {seen[-200:]!r}"
            seen += piece
        return seen


def streams(data: bytes) -> dict[int, bytes]:
    """What each stream of a framed answer holds."""
    found: dict[int, bytes] = {}
    for stream, payload in FrameReader().feed(data):
        found[stream] = found.get(stream, b"") + payload
    return found
