"""What the work of a soak's client is made of: asking, comparing, containers of one command.

All that a client makes has a name that begins with its own, so clients never meet.
"""

import contextlib
import http.client
import io
import random
import tarfile
from collections.abc import Mapping
from typing import Any

from tests.support.http import STDERR, STDOUT, Answer, Http, joined
from tests.support.waiting import TooLate, until

BROKEN = (OSError, http.client.HTTPException)
"""What a client sees of an engine that is killed amid its request."""


class Wrong(AssertionError):
    """The engine did not keep a promise."""


class CutOff(Exception):
    """The engine was killed amid a request: nobody knows what became of it."""


class Client:
    """Asks, and says `Wrong` when the answer is not what was promised."""

    def __init__(self, name: str, http: Http, seed: int, image: str) -> None:
        self.name, self.image = name, image
        self._http, self._random = http, random.Random(seed)
        self._count = 0
        self.requests = 0

    def _create(
        self,
        name: str,
        command: list[str],
        *,
        image: str = "",
        network: str = "none",
        binds: list[str] | None = None,
        **wishes: Any,
    ) -> None:
        host = {"NetworkMode": network, "Binds": binds or []}
        wish = {"Image": image or self.image, "Cmd": command, "HostConfig": host, **wishes}
        self._ask("POST", f"/containers/create?name={name}", wish, expect=(201,))

    def _start(self, name: str) -> None:
        self._ask("POST", f"/containers/{name}/start", expect=(204,))

    def _ended(self, name: str) -> int:
        """Its exit code, when it has ended."""
        return int(self._ask("POST", f"/containers/{name}/wait").json["StatusCode"])

    def _shell(self, script: str, prints: str = "", **wishes: Any) -> None:
        """Run a script in a container of its own; it has to succeed, and to print this."""
        name = self._new_name()
        self._create(name, ["sh", "-c", script], **wishes)
        self._start(name)
        code = self._ended(name)
        told = self._ask("GET", f"/containers/{name}/logs?stdout=1&stderr=1").body
        self._same(f"exit code of {script}, {joined(told, STDERR)!r},", code, 0)
        self._same("log", joined(told, STDOUT), prints.encode())
        self._remove(name)

    def _build(self, tag: str, word: str) -> None:
        """An image whose file /twice has the word two times."""
        file = f"FROM {self.image}\nCOPY word /word\nRUN cat /word /word >/twice\n"
        context = tarred({"Dockerfile": file.encode(), "word": word.encode()})
        self._told(self._ask("POST", f"/build?t={tag}&q=1&rm=1&forcerm=1", context))

    def _log(self, name: str) -> bytes:
        return joined(self._ask("GET", f"/containers/{name}/logs?stdout=1").body, STDOUT)

    def _await_log(self, name: str, promised: bytes) -> None:
        """Until the container has written it: a start says that it runs, not how far it is."""
        with contextlib.suppress(TooLate):
            until(lambda: len(self._log(name)) >= len(promised), what="all of it")
        self._same("log", self._log(name), promised)

    def _remove(self, name: str) -> None:
        self._ask("DELETE", f"/containers/{name}?force=1&v=1", expect=(204,))

    def _new_name(self) -> str:
        self._count += 1
        return f"{self.name}-{self._count}"

    def _is_mine(self, name: str) -> bool:
        return name.rpartition("/")[2].startswith(f"{self.name}-")

    def _word(self) -> str:
        return f"w{self._random.getrandbits(64):016x}"

    def _same(self, what: str, got: object, promised: object) -> None:
        if got != promised:
            raise Wrong(f"{self.name}: {what} is {got!r}, not {promised!r}")

    def _told(self, answer: Answer) -> None:
        """An answer that tells how it goes may end with an error. Raises: Wrong."""
        if b'"errorDetail"' in answer.body:
            raise Wrong(f"{self.name}: an error amid the answer: {answer.body[-500:]!r}")

    def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Answer:
        """An answer of the kind that was expected. Raises: CutOff, Wrong."""
        self.requests += 1
        try:
            answer = self._http(method, path, body, headers)
        except BROKEN as error:
            raise CutOff from error
        if answer.status not in expect:
            raise Wrong(f"{self.name}: {method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer


def tarred(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
