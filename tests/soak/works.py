"""The kinds of work that a soak's client does, and its model: what was acknowledged and must be there.

Work takes out of the model what it is about to change, and puts in what was acknowledged. So what is in the
model is promised at any time, and what is not may be taken away.
"""

import io
import json
import tarfile
from collections.abc import Callable
from socket import socket as Socket
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from tests.soak.client import BROKEN, Client, CutOff, Wrong, tarred
from tests.support.http import STDOUT, Http, frames, joined, read_all
from tests.support.waiting import TooLate, until

ANONYMOUS = {"X-Registry-Auth": "e30="}
FEW = 2
"""Of volumes and of services a client keeps no more."""


class Box(Struct, frozen=True):
    """A container that was started and has to run."""

    name: str
    word: str
    pid: int


class Works(Client):
    """One method for each kind of work. `registry` and `swarm` say what the engine has beside it."""

    def __init__(
        self, name: str, http: Http, seed: int, image: str, *, registry: str = "", swarm: bool = False
    ) -> None:
        super().__init__(name, http, seed, image)
        self._registry, self._swarm = registry, swarm
        self._running: dict[str, Box] = {}
        self._kept: dict[str, str] = {}
        """What was written to volumes, by the volume's name."""
        self._served: dict[str, str] = {}
        """What the tasks of services have as a label, by the service's name."""

    @property
    def _works(self) -> list[Callable[[], None]]:
        always = [self.run_once, self.keep_running, self.follow, self.talk, self.keep_a_volume]
        always += [self.meet, self.build]
        always += [self.exchange] if self._registry else []
        always += [self.keep_a_service] if self._swarm else []
        with_boxes = [self.check_one, self.run_second, self.copy, self.end_one, self.restart_one]
        full = [self.end_one] * 4 if len(self._running) > 4 else []
        return always + (with_boxes * 2 + full if self._running else [])

    def run_once(self) -> None:
        name, word = self._new_name(), self._word()
        self._create(name, ["sh", "-c", f"echo {word}; exit 3"])
        self._start(name)
        self._same("exit code", self._ended(name), 3)
        self._same("log", self._log(name), f"{word}\n".encode())
        self._remove(name)

    def keep_running(self) -> None:
        name, word = self._new_name(), self._word()
        self._create(name, ["sh", "-c", f"echo {word}; exec sleep 3600"])
        self._start(name)
        pid = self._ask("GET", f"/containers/{name}/json").json["State"]["Pid"]
        self._await_log(name, f"{word}\n".encode())
        self._running[name] = Box(name, word, pid)

    def follow(self) -> None:
        name = self._new_name()
        self._create(name, ["seq", "1", "2000"])
        self._start(name)
        told = joined(self._ask("GET", f"/containers/{name}/logs?stdout=1&follow=1").body, STDOUT)
        self._same("followed log", told, b"".join(b"%d\n" % n for n in range(1, 2001)))
        self._remove(name)

    def talk(self) -> None:
        """What is said comes back. Once it did, the engine is not needed for the rest."""
        name, words = self._new_name(), [f"{self._word()}\n".encode() for _ in range(20)]
        self._create(name, ["cat"], OpenStdin=True, StdinOnce=True)
        self._start(name)
        with self._hijacked(f"/containers/{name}/attach?stream=1&stdin=1&stdout=1") as sock:
            told = heard(sock, words[0])
            if not told:
                raise CutOff
            for word in words[1:]:
                told += heard(sock, word)
        self._same("attach", told, b"".join(words))
        self._same("exit code", self._ended(name), 0)
        self._remove(name)

    def keep_a_volume(self) -> None:
        if len(self._kept) > FEW:
            volume = self._random.choice(list(self._kept))
            del self._kept[volume]
            self._ask("DELETE", f"/volumes/{volume}", expect=(204,))
            return
        volume, word = self._new_name(), self._word()
        self._ask("POST", "/volumes/create", {"Name": volume}, expect=(201,))
        self._shell(f"echo {word} >/v/word && sync", binds=[f"{volume}:/v"])
        self._kept[volume] = word
        self._read_volume(volume)

    def meet(self) -> None:
        net, server = self._new_name(), self._new_name()
        self._ask("POST", "/networks/create", {"Name": net, "CheckDuplicate": True}, expect=(201,))
        self._create(server, ["sleep", "3600"], network=net)
        self._start(server)
        self._shell(f"ping -c 1 -W 5 {server} >/dev/null", network=net)
        self._remove(server)
        self._ask("DELETE", f"/networks/{net}", expect=(204,))

    def build(self) -> None:
        tag, word = self._new_name(), self._word()
        self._build(tag, word)
        self._shell("cat /twice", word * 2, image=tag)
        self._ask("DELETE", f"/images/{tag}", expect=(200,))

    def exchange(self) -> None:
        """An image goes to a registry, and comes back as it was."""
        tag, word = f"{self._registry}/{self._new_name()}", self._word()
        self._build(tag, word)
        self._told(self._ask("POST", f"/images/{tag}/push?tag=latest", headers=ANONYMOUS))
        self._ask("DELETE", f"/images/{tag}", expect=(200,))
        self._told(self._ask("POST", f"/images/create?fromImage={tag}&tag=latest", headers=ANONYMOUS))
        self._shell("cat /twice", word * 2, image=tag)
        self._ask("DELETE", f"/images/{tag}", expect=(200,))

    def keep_a_service(self) -> None:
        """Make one, change one, or take one away."""
        if len(self._served) < FEW:
            name, word = self._new_name(), self._word()
            self._ask("POST", "/services/create", self._service(name, word), expect=(201,))
        else:
            name, word = self._random.choice(list(self._served)), self._word()
            del self._served[name]
            if self._random.random() < 1 / 3:
                self._ask("DELETE", f"/services/{name}")
                return
            version = self._ask("GET", f"/services/{name}").json["Version"]["Index"]
            self._ask("POST", f"/services/{name}/update?version={version}", self._service(name, word))
        self._served[name] = word
        self._check_service(name)

    def check_one(self) -> None:
        self._check(self._one())

    def run_second(self) -> None:
        box, word = self._one(), self._word()
        wish = {"AttachStdout": True, "Cmd": ["sh", "-c", f"echo {word}; exit 4"]}
        exec_id = self._ask("POST", f"/containers/{box.name}/exec", wish, expect=(201,)).json["Id"]
        with self._hijacked(f"/exec/{exec_id}/start", {}) as sock:
            try:
                told = read_all(sock)
            except BROKEN as error:
                raise CutOff from error
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
        self._same("exit code", self._ended(box.name), 137)
        self._same(f"log of {box.name}", self._log(box.name), f"{box.word}\n".encode())
        self._remove(box.name)

    def restart_one(self) -> None:
        box = self._running.pop(self._one().name)
        self._ask("POST", f"/containers/{box.name}/restart?t=0", expect=(204,))
        state = self._ask("GET", f"/containers/{box.name}/json").json["State"]
        self._same("state", state["Status"], "running")
        self._await_log(box.name, f"{box.word}\n{box.word}\n".encode())
        self._remove(box.name)

    # -- what is in the model is so

    def _one(self) -> Box:
        return self._random.choice(list(self._running.values()))

    def _check(self, box: Box) -> None:
        state = self._ask("GET", f"/containers/{box.name}/json").json["State"]
        self._same(f"state of {box.name}", (state["Status"], state["Pid"]), ("running", box.pid))
        self._same(f"log of {box.name}", self._log(box.name), f"{box.word}\n".encode())

    def _read_volume(self, volume: str) -> None:
        self._shell("cat /v/word", f"{self._kept[volume]}\n", binds=[f"{volume}:/v"])

    def _check_service(self, name: str) -> None:
        """Its task comes to run as it was wished last."""
        labels = [f"com.docker.swarm.service.name={name}", f"word={self._served[name]}"]
        wanted = quote(json.dumps({"label": labels}))
        try:
            until(lambda: self._ask("GET", f"/containers/json?filters={wanted}").json, what="a task")
        except TooLate as late:
            told = self._ask("GET", f"/tasks?filters={quote(json.dumps({'service': [name]}))}").json
            states = [(task["DesiredState"], task["Status"]) for task in told]
            raise Wrong(f"{self.name}: service {name} does not run: {states}") from late

    # -- words of this work

    def _service(self, name: str, word: str) -> dict[str, Any]:
        command = ["sh", "-c", "trap exit TERM; while :; do sleep 0.2; done"]
        container = {"Image": f"{self._registry}/{self.image}", "Command": command, "Labels": {"word": word}}
        return {"Name": name, "TaskTemplate": {"ContainerSpec": container}}

    def _hijacked(self, path: str, body: object = None) -> Socket:
        """The socket behind an answer of 101. Raises: CutOff, Wrong."""
        self.requests += 1
        try:
            head, sock = self._http.hijack(path, body)
        except (*BROKEN, AssertionError) as error:
            raise CutOff from error
        if b" 101 " not in head:
            with sock:
                raise Wrong(f"{self.name}: {path}: {head!r} {read_all(sock)!r}")
        return sock


def heard(sock: Socket, word: bytes) -> bytes:
    """What comes back for a word that is said; less of it when the stream ends."""
    told = b""
    try:
        sock.sendall(word)
        while len(joined(told, STDOUT)) < len(word) and (part := sock.recv(8 + len(word))):
            told += part
            list(frames(told))
    except OSError:
        pass
    return joined(told, STDOUT)
