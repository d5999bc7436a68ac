"""One client of a soak: random work, and a model of what must be true whatever was killed meanwhile.

What was acknowledged must be there, as it was; what was cut off may be there or not, and is taken away. All
that an actor makes has a name that begins with its own, so actors never meet.
"""

import http.client
import io
import random
import tarfile
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from tests.support.http import STDOUT, Answer, Http, joined, read_all
from tests.support.waiting import until

BROKEN = (OSError, http.client.HTTPException)
"""What a client sees of an engine that is killed amid its request."""
RETURNS_WITHIN_S = 60


class Wrong(AssertionError):
    """The engine did not keep a promise."""


class CutOff(Exception):
    """The engine was killed amid a request: nobody knows what became of it."""


class Box(Struct, frozen=True):
    """A container that was started and has to run."""

    name: str
    word: str
    pid: int


class Actor:
    """Works by itself until told to stop; `done` counts what it has done, by name."""

    def __init__(self, name: str, http: Http, seed: int, image: str) -> None:
        self.name, self.image = name, image
        self._http, self._random = http, random.Random(seed)
        self._running: dict[str, Box] = {}
        self._kept: dict[str, str] = {}
        """What was written to volumes, by the volume's name."""
        self._count = 0
        self.done: dict[str, int] = {}
        self.cut_off = 0

    def step(self) -> None:
        """One piece of work, chosen at random. Raises: Wrong."""
        work = self._random.choice(self._works)
        try:
            work()
            self.done[work.__name__] = self.done.get(work.__name__, 0) + 1
        except CutOff:
            self.cut_off += 1
            self._await_engine()
            self._take_away_what_is_unknown()
            self.check_all()

    def check_all(self) -> None:
        """All that was acknowledged is as it was. Raises: Wrong."""
        try:
            for box in list(self._running.values()):
                self._check(box)
            for volume in list(self._kept):
                self._read_volume(volume)
        except CutOff:
            self._await_engine()
            self.check_all()

    def leave(self) -> None:
        """Take away all that it made."""
        try:
            self._running.clear()
            self._kept.clear()
            self._take_away_what_is_unknown()
        except CutOff:
            self._await_engine()
            self.leave()

    # -- the kinds of work

    @property
    def _works(self) -> list[Callable[[], None]]:
        always = [self.run_once, self.keep_running, self.follow, self.keep_a_volume, self.meet, self.build]
        with_boxes = [self.check_one, self.run_second, self.copy, self.end_one, self.restart_one]
        full = [self.end_one] * 4 if len(self._running) > 4 else []
        return always + (with_boxes * 2 + full if self._running else [])

    def run_once(self) -> None:
        name, word = self._new_name(), self._word()
        self._create(name, ["sh", "-c", f"echo {word}; exit 3"])
        self._ask("POST", f"/containers/{name}/start", expect=(204,))
        code = self._ask("POST", f"/containers/{name}/wait").json["StatusCode"]
        self._same("exit code", code, 3)
        self._same("log", self._log(name), f"{word}\n".encode())
        self._remove(name)

    def keep_running(self) -> None:
        name, word = self._new_name(), self._word()
        self._create(name, ["sh", "-c", f"echo {word}; exec sleep 3600"])
        self._ask("POST", f"/containers/{name}/start", expect=(204,))
        pid = self._ask("GET", f"/containers/{name}/json").json["State"]["Pid"]
        self._await_log(name, f"{word}\n".encode())
        self._running[name] = Box(name, word, pid)

    def follow(self) -> None:
        name = self._new_name()
        self._create(name, ["seq", "1", "2000"])
        self._ask("POST", f"/containers/{name}/start", expect=(204,))
        told = joined(self._ask("GET", f"/containers/{name}/logs?stdout=1&follow=1").body, STDOUT)
        self._same("followed log", told, b"".join(b"%d\n" % n for n in range(1, 2001)))
        self._remove(name)

    def keep_a_volume(self) -> None:
        if len(self._kept) > 2:
            volume = self._random.choice(list(self._kept))
            del self._kept[volume]
            self._ask("DELETE", f"/volumes/{volume}", expect=(204,))
            return
        volume, word = self._new_name(), self._word()
        self._ask("POST", "/volumes/create", {"Name": volume}, expect=(201,))
        self._shell(f"echo {word} >/v/word; sync", binds=[f"{volume}:/v"])
        self._kept[volume] = word
        self._read_volume(volume)

    def meet(self) -> None:
        net, server = self._new_name(), self._new_name()
        self._ask("POST", "/networks/create", {"Name": net, "CheckDuplicate": True}, expect=(201,))
        self._create(server, ["sleep", "3600"], network=net)
        self._ask("POST", f"/containers/{server}/start", expect=(204,))
        self._shell(f"ping -c 1 -W 5 {server} >/dev/null", network=net)
        self._remove(server)
        self._ask("DELETE", f"/networks/{net}", expect=(204,))

    def build(self) -> None:
        tag, word = self._new_name(), self._word()
        file = f"FROM {self.image}\nCOPY word /word\nRUN cat /word /word >/twice\n"
        context = tarred({"Dockerfile": file.encode(), "word": word.encode()})
        told = self._ask("POST", f"/build?t={tag}&q=1&rm=1&forcerm=1", context).body
        if b"errorDetail" in told:
            raise Wrong(f"{self.name}: a build failed: {told[-500:]!r}")
        self._same("built file", self._shell("cat /twice", image=tag), (word * 2).encode())
        self._ask("DELETE", f"/images/{tag}", expect=(200,))

    def check_one(self) -> None:
        self._check(self._one())

    def run_second(self) -> None:
        box, word = self._one(), self._word()
        wish = {"AttachStdout": True, "Cmd": ["sh", "-c", f"echo {word}; exit 4"]}
        exec_id = self._ask("POST", f"/containers/{box.name}/exec", wish, expect=(201,)).json["Id"]
        try:
            head, sock = self._http.hijack(f"/exec/{exec_id}/start", {})
            with sock:
                told = read_all(sock)
        except (*BROKEN, AssertionError) as error:
            raise CutOff from error
        if b" 101 " not in head:
            raise Wrong(f"{self.name}: exec start: {head!r} {told!r}")
        code = self._ask("GET", f"/exec/{exec_id}/json").json["ExitCode"]
        self._same("exec", (joined(told, STDOUT), code), (f"{word}\n".encode(), 4))

    def copy(self) -> None:
        box, word = self._one(), self._word()
        self._ask("PUT", f"/containers/{box.name}/archive?path=/tmp", tarred({"in": word.encode()}))
        came = self._ask("GET", f"/containers/{box.name}/archive?path=/tmp/in").body
        with tarfile.open(fileobj=io.BytesIO(came)) as tar:
            file = tar.extractfile("in")
            self._same("copied file", file.read() if file else None, word.encode())

    def end_one(self) -> None:
        box = self._running.pop(self._one().name)
        self._ask("POST", f"/containers/{box.name}/kill", expect=(204,))
        code = self._ask("POST", f"/containers/{box.name}/wait").json["StatusCode"]
        self._same("exit code", code, 137)
        self._same("log", self._log(box.name), f"{box.word}\n".encode())
        self._remove(box.name)

    def restart_one(self) -> None:
        box = self._running.pop(self._one().name)
        self._ask("POST", f"/containers/{box.name}/restart?t=0", expect=(204,))
        state = self._ask("GET", f"/containers/{box.name}/json").json["State"]
        self._same("state", state["Status"], "running")
        self._await_log(box.name, f"{box.word}\n{box.word}\n".encode())
        self._remove(box.name)

    # -- what work is made of

    def _create(
        self,
        name: str,
        command: list[str],
        *,
        image: str = "",
        network: str = "none",
        binds: list[str] | None = None,
    ) -> None:
        host = {"NetworkMode": network, "Binds": binds or []}
        wish = {"Image": image or self.image, "Cmd": command, "HostConfig": host}
        self._ask("POST", f"/containers/create?name={name}", wish, expect=(201,))

    def _shell(self, script: str, **wishes: Any) -> bytes:
        """What a script prints, in a container of its own that has to succeed."""
        name = self._new_name()
        self._create(name, ["sh", "-c", script], **wishes)
        self._ask("POST", f"/containers/{name}/start", expect=(204,))
        code = self._ask("POST", f"/containers/{name}/wait").json["StatusCode"]
        told = self._log(name)
        self._same(f"exit code of {script}", code, 0)
        self._remove(name)
        return told

    def _read_volume(self, volume: str) -> None:
        told = self._shell("cat /v/word", binds=[f"{volume}:/v"])
        self._same("volume", told, f"{self._kept[volume]}\n".encode())

    def _check(self, box: Box) -> None:
        state = self._ask("GET", f"/containers/{box.name}/json").json["State"]
        self._same(f"state of {box.name}", (state["Status"], state["Pid"]), ("running", box.pid))
        self._same(f"log of {box.name}", self._log(box.name), f"{box.word}\n".encode())

    def _log(self, name: str) -> bytes:
        return joined(self._ask("GET", f"/containers/{name}/logs?stdout=1").body, STDOUT)

    def _await_log(self, name: str, promised: bytes) -> None:
        """Until the container has written it: a start says that it runs, not how far it is."""
        until(lambda: len(self._log(name)) >= len(promised), what=f"the log of {name}")
        self._same(f"log of {name}", self._log(name), promised)

    def _remove(self, name: str) -> None:
        self._ask("DELETE", f"/containers/{name}?force=1&v=1", expect=(204,))

    def _one(self) -> Box:
        return self._random.choice(list(self._running.values()))

    def _new_name(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def _word(self) -> str:
        return f"w{self._random.getrandbits(64):016x}"

    def _same(self, what: str, got: object, promised: object) -> None:
        if got != promised:
            raise Wrong(f"{self.name}: {what} is {got!r}, not {promised!r}")

    def _ask(
        self, method: str, path: str, body: object = None, *, expect: tuple[int, ...] = (200,)
    ) -> Answer:
        """An answer of the kind that was expected. Raises: CutOff, Wrong."""
        try:
            answer = self._http(method, path, body)
        except BROKEN as error:
            raise CutOff from error
        if answer.status not in expect:
            raise Wrong(f"{self.name}: {method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer

    def _await_engine(self) -> None:
        deadline = time.monotonic() + RETURNS_WITHIN_S
        while time.monotonic() < deadline:
            try:
                if self._http("GET", "/_ping").status == 200:
                    return
            except BROKEN:
                time.sleep(0.02)
        raise Wrong(f"{self.name}: the engine did not return")

    def _take_away_what_is_unknown(self) -> None:
        """All of its own that the model does not have."""
        containers = self._ask("GET", "/containers/json?all=1").json
        for name in {each["Names"][0].removeprefix("/") for each in containers} - self._running.keys():
            if self._is_mine(name):
                self._ask("DELETE", f"/containers/{name}?force=1&v=1", expect=(204, 404))
        for each in self._ask("GET", "/networks").json:
            if self._is_mine(each["Name"]):
                self._ask("DELETE", f"/networks/{each['Name']}", expect=(204, 404))
        for each in self._ask("GET", "/volumes").json["Volumes"] or []:
            if self._is_mine(each["Name"]) and each["Name"] not in self._kept:
                self._ask("DELETE", f"/volumes/{each['Name']}", expect=(204, 404))
        for each in self._ask("GET", "/images/json").json:
            for tag in filter(self._is_mine, each["RepoTags"] or []):
                self._ask("DELETE", f"/images/{tag}?force=1", expect=(200, 404))

    def _is_mine(self, name: str) -> bool:
        return name.startswith(f"{self.name}-")


def tarred(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
