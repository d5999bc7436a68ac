"""The daemon's end of the worker processes.

`Workers.run` sends a job with its open files and waits for the answer. A job is one process: cancelling
the caller kills it by its pidfd and waits until it is gone, so whoever cleans up after it races with
nobody. The helper that forks them is started when first needed.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from lighterman.content.jobs import Answer, Begun, Failed, Job, JobFailed, Message, R, Step
from lighterman.lib.effects import in_thread, to_end
from lighterman.linux import sockets

IDLE_S = 60.0
_MESSAGE_MAX = 1 << 18
_TRIES = 3
_decode = msgspec.msgpack.Decoder(Message).decode
_encode = msgspec.msgpack.Encoder().encode


class _NoWorkers(JobFailed):
    def __init__(self) -> None:
        super().__init__(Failed("system", "the worker processes cannot be started"))


class Workers:
    """A helper process, started when first needed, that forks one child per job."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._control: socket.socket | None = None
        self._helper: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def run(self, job: Job[R], fds: Sequence[int], on_step: Callable[[Step], None] | None = None) -> R:
        """The answer of `job`. `fds` stay the caller's; the first is the directory it works in.

        Raises: JobFailed.
        """
        message = _encode(job)
        for _ in range(_TRIES):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours:
                with theirs:
                    await self._send(message, [*fds, theirs.fileno()])
                answer = await _Conversation(ours, on_step).finished()
            if answer is not None:
                return answer  # type: ignore[return-value]  # the type of Job says which one it is
            # the helper went to rest just then, before it had read the job
        raise _NoWorkers

    async def close(self) -> None:
        """End the helper and every job."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._helper is not None:
            await self._helper.wait()

    async def _send(self, message: bytes, fds: list[int]) -> None:
        async with self._starting:
            for _ in range(2):
                if self._control is None:
                    self._control = await self._start()
                with suppress(BrokenPipeError, ConnectionResetError):
                    await in_thread(sockets.send, self._control, message, fds)
                    return
                self._control.close()
                self._control = None
        raise _NoWorkers

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: the current directory is no place for modules of root's processes
            arguments = ("-P", "-m", "lighterman.content.helper", str(theirs.fileno()), str(self._idle_s))
            self._helper = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return ours


class _Conversation:
    """What one worker says, read as it comes."""

    def __init__(self, channel: socket.socket, on_step: Callable[[Step], None] | None) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._on_step = on_step
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._begun = asyncio.Event()
        """Set as well when the worker ended without a word."""
        self._answer: Answer | Failed | None = None
        self._pidfd = -1

    async def finished(self) -> Answer | None:
        """The answer, None when no worker ever took the job. Raises: JobFailed."""
        self._loop.add_reader(self._channel.fileno(), self._read)
        try:
            await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            await to_end(self._kill())
            raise
        finally:
            self._loop.remove_reader(self._channel.fileno())
            if self._pidfd >= 0:
                os.close(self._pidfd)
        if isinstance(self._answer, Failed):
            raise JobFailed(self._answer)
        if self._answer is None and self._pidfd >= 0:
            raise JobFailed(Failed("system", "the worker process was killed"))
        return self._answer

    async def _kill(self) -> None:
        # a worker that has not said its name yet will: its process must not be left behind
        await self._begun.wait()
        if not self._ended.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        await self._ended

    def _read(self) -> None:
        try:
            raw, fds = sockets.receive(self._channel, _MESSAGE_MAX)
        except BlockingIOError:
            return
        except ConnectionResetError:
            raw, fds = b"", []
        if not raw:
            self._loop.remove_reader(self._channel.fileno())
            self._begun.set()
            if not self._ended.done():
                self._ended.set_result(None)
            return
        match _decode(raw):
            case Begun():
                (self._pidfd,) = fds
                self._begun.set()
            case Step() as step:
                if self._on_step is not None:
                    self._on_step(step)
            case answer:
                self._answer = answer
