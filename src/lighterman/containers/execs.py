"""What an exec is: its wish, and one of three lives. It lives in memory only, as dockerd's do."""

import asyncio
from typing import TypeAlias

from msgspec import Struct, field

from lighterman.apitypes.exec import ExecCreateBody, ExecInspectResponse, ExecProcessConfig

KEPT_S = 300.0
"""How long an ended exec can be inspected. Source: the exec commands' collector of moby 20.10."""


class Prepared(Struct, frozen=True):
    pass


class ExecRunning(Struct, frozen=True):
    pid: int


class ExecEnded(Struct, frozen=True):
    code: int
    pid: int = 0


ExecLife: TypeAlias = Prepared | ExecRunning | ExecEnded


class Exec(Struct, frozen=True, kw_only=True):
    """A further process in a container; `started` and `ended` wake those who wait for the next life."""

    id: str
    container_id: str
    wish: ExecCreateBody
    life: ExecLife = field(default_factory=Prepared)
    started: asyncio.Event = field(default_factory=asyncio.Event)  # it runs, or could not be started
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def command(self) -> str:
        """What its events say behind "exec_create: "."""
        return " ".join(self.wish.cmd or ())


def view(one: Exec) -> ExecInspectResponse:
    """What ExecInspect shows. Source: measured on dockerd 20.10.24, the pid of an ended one included."""
    wish, life = one.wish, one.life
    entrypoint, *arguments = wish.cmd or [""]
    return ExecInspectResponse(
        id=one.id,
        running=isinstance(life, ExecRunning),
        exit_code=life.code if isinstance(life, ExecEnded) else None,
        process_config=ExecProcessConfig(
            tty=wish.tty,
            entrypoint=entrypoint,
            arguments=arguments,
            privileged=wish.privileged,
            user=wish.user,
        ),
        open_stdin=wish.attach_stdin,
        open_stderr=wish.attach_stderr,
        open_stdout=wish.attach_stdout,
        can_remove=False,
        container_id=one.container_id,
        detach_keys=wish.detach_keys,
        pid=0 if isinstance(life, Prepared) else life.pid,
    )
