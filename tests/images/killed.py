"""Images in a process that is killed before each of its effects in turn: `python -m tests.images.killed`.

An *effect* is what the kernel or SQLite is asked to change: a directory, a rename, a removal, a job for a
worker, a commit. The arguments are a verb, a directory and a registry; for each effect of the verb a line on
standard output tells what the start after it found wrong. Each process cleans up after the one before it,
and gets one effect further.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path

from tests.images.shelf import Shelf, heard, ids, layer, opened, put, saved, sent
from tests.images.shelf import config as configuration

from lighterman.apitypes.image import Progress
from lighterman.images import CommitWish, ImportWish
from lighterman.images.check import check_store

EFFECTS = frozenset(
    {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "socket.sendmsg"}
)
"""As Python's audit events call them: each is told before it happens."""
LANES = 2
"""How many roots there are: each has a process at a time, for every so manieth effect."""
LAYERS = (layer("low", b"1" * 5000), layer("top", b"2" * 100))
DONE = 7
"""The exit code of a process that came to the verb's end."""

Act = Callable[[Shelf, str], Awaitable[object]]


async def pull(shelf: Shelf, host: str) -> None:
    await _told(await shelf.images.pull(f"{host}/killed", "1"))


async def push(shelf: Shelf, host: str) -> None:
    await _told(await shelf.images.push(_target(host)))


async def load(shelf: Shelf, host: str) -> None:
    await _told(shelf.images.load(sent(saved((configuration(LAYERS[0]), LAYERS[:1], ["made:1"])))))


async def import_(shelf: Shelf, host: str) -> None:
    await _told(await shelf.images.import_(sent(LAYERS[0]), ImportWish("made", "1")))


async def commit(shelf: Shelf, host: str) -> None:
    parent = shelf.images.find("base:1")
    upper = shelf.rooms.root.parent / "upper"
    upper.mkdir(exist_ok=True)
    (upper / "written").write_text("by a container")
    wish = CommitWish(upper=upper, parent=parent.id, config=parent.config, container_id="c" * 64)
    await shelf.images.commit(wish, None)


async def rmi(shelf: Shelf, host: str) -> None:
    await shelf.images.delete("base:1", force=True)


async def _told(messages: AsyncIterator[Progress]) -> None:
    *_, last = await heard(messages)
    assert not isinstance(last.error, str), last.error


async def base(shelf: Shelf, host: str) -> None:
    await put(shelf, "base:1", layers=LAYERS)


async def named(shelf: Shelf, host: str) -> None:
    await put(shelf, _target(host), layers=LAYERS)


def _target(host: str) -> str:
    """Where nothing has been pushed to before."""
    return f"{host}/killed-{os.getpid()}:1"


async def nothing(shelf: Shelf, host: str) -> None:
    """The verb brings what it needs."""


VERBS: dict[str, tuple[Act, Act]] = {
    "pull": (nothing, pull),
    "push": (named, push),
    "load": (nothing, load),
    "import": (nothing, import_),
    "commit": (base, commit),
    "rmi": (base, rmi),
}
"""What is there before, and what is done."""


class Killer:
    """Kills this process before the effect with the number `at`."""

    def __init__(self, shelf: Shelf, at: int) -> None:
        self._at, self._numbers = at, count(1)
        self._armed = True
        # of all connections of SQLite this is the one that writes
        shelf.rooms.db._connection.set_trace_callback(self._statement)
        sys.addaudithook(self._event)

    def rest(self) -> None:
        """Let everything through from now on."""
        self._armed = False

    def _statement(self, statement: str) -> None:
        if statement == "COMMIT":
            self._effect()

    def _event(self, event: str, _: object) -> None:
        if event in EFFECTS:
            self._effect()

    def _effect(self) -> None:
        if self._armed and next(self._numbers) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


async def life(verb: str, root: Path, host: str, at: int) -> None:
    """Look at what the process before has left, take it away, and come as far as effect `at` of the verb."""
    prepare, act = VERBS[verb]
    async with opened(root) as shelf:
        _look(root, f"{verb} before {at}")
        for image_id in ids(shelf):
            await shelf.images.delete(image_id, force=True)
        await prepare(shelf, host)
        killer = Killer(shelf, at)
        await act(shelf, host)
        killer.rest()
        _look(root, f"{verb} at its end")


def _look(root: Path, when: str) -> None:
    found = [f"ingest holds {name}" for name in os.listdir(root / "ingest")]
    line = f"{when}: {[*check_store(root).complaints, *found]}\n"
    os.write(sys.stdout.fileno(), line.encode())  # in one piece: all lanes write to one pipe


def lane(verb: str, root: Path, host: str, first: int) -> None:
    """Kill at every LANES-th effect, from `first` on. Raises: AssertionError: a process fails by itself."""
    for at in count(first, LANES):
        pid = os.fork()
        if pid == 0:
            _exit_with(partial(asyncio.run, life(verb, root, host, at)), DONE)
        status = os.waitpid(pid, 0)[1]
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == DONE, f"{verb} {at} failed by itself"
            return


def _exit_with(call: Callable[[], object], code: int) -> None:
    try:
        call()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    os._exit(code)


def main(verb: str, folder: Path, host: str) -> None:
    """All lanes side by side; the exit code is not 0 if one failed."""
    lanes = []
    for first in range(1, LANES + 1):
        pid = os.fork()
        if pid == 0:
            (folder / str(first)).mkdir()
            _exit_with(partial(lane, verb, folder / str(first) / "root", host, first), 0)
        lanes.append(pid)
    sys.exit(1 if any([os.waitpid(pid, 0)[1] for pid in lanes]) else 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
