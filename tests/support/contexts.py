"""Contexts of builds as clients send them, and what comes of a build."""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from tests.support.http import Http
from tests.support.images import entry, tarball


def context(dockerfile: str, files: Mapping[str, bytes] | None = None) -> bytes:
    """The archive of a Dockerfile and the files beside it."""
    members = {"Dockerfile": dockerfile.encode(), **(files or {})}
    return tarball([(entry(name, mode=0o644), data) for name, data in members.items()])


class Built(Struct, frozen=True):
    """What a client has read of a build."""

    status: int
    messages: tuple[dict[str, Any], ...]

    @property
    def text(self) -> str:
        """What people see of it."""
        return "".join(message.get("stream", "") for message in self.messages)

    @property
    def image(self) -> str:
        """The id of the image."""
        return str([message["aux"]["ID"] for message in self.messages if "aux" in message][-1])

    @property
    def error(self) -> str:
        """The last words of one that failed, in whatever form they came; "" for one that did not."""
        last = self.messages[-1]
        return str(last.get("error") or last.get("message") or "")

    @property
    def cached(self) -> int:
        """How many steps were found in the cache."""
        return self.text.count(" ---> Using cache\n")

    @property
    def ran(self) -> int:
        """How many containers there were."""
        return self.text.count(" ---> Running in ")


def build(http: Http, dockerfile: str, query: str = "", files: Mapping[str, bytes] | None = None) -> Built:
    """Build it, as far as it goes."""
    answer = http("POST", f"/build?{query}", context(dockerfile, files))
    return Built(answer.status, tuple(json.loads(line) for line in answer.body.splitlines() if line))
