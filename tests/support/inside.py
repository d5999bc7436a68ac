"""Looking into containers: what a process in one made with certain fields sees."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.support.http import STDERR, STDOUT, Http, joined

_MARK = "-- seen: "


def made(http: Http, command: str, host: Any = None, **config: Any) -> str:
    """The id of a new container that runs `command` in a shell; `host` is its HostConfig."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": host or {}, **config}
    name = config.pop("name", "")
    query = f"?{urlencode({'name': name})}" if name else ""
    return str(http.ok("POST", f"/containers/create{query}", body)["Id"])


def running(http: Http, command: str = "sleep 600", host: Any = None, **config: Any) -> str:
    """The same, started."""
    cid = made(http, command, host, **config)
    http.ok("POST", f"/containers/{cid}/start")
    return cid


def inside(http: Http, command: str, host: Any = None, **config: Any) -> str:
    """What a command says in a container of its own, errors included, without the last newline."""
    cid = running(http, command, host, **config)
    http.ok("POST", f"/containers/{cid}/wait")
    data = http("GET", f"/containers/{cid}/logs?stdout=1&stderr=1").body
    http("DELETE", f"/containers/{cid}?v=1")
    return (joined(data, STDOUT) + joined(data, STDERR)).decode().removesuffix("\n")


def seen(http: Http, commands: Mapping[str, str], host: Any = None, **config: Any) -> dict[str, str]:
    """What each of several commands says, errors included, one after the other in one container."""
    script = "".join(f"echo '{_MARK}{name}'\n{command}\n" for name, command in commands.items())
    told = inside(http, f"exec 2>&1\n{script}", host, **config).split(_MARK)[1:]
    return {name: text.removesuffix("\n") for name, _, text in (each.partition("\n") for each in told)}


def refused(http: Http, host: Any = None, **config: Any) -> tuple[int, str]:
    """(status, message) of a creation, or of a start, that must not be."""
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host or {}, **config}
    answer = http("POST", "/containers/create", body)
    if answer.status == 201:
        answer = http("POST", f"/containers/{answer.json['Id']}/start")
    assert answer.status >= 400, answer
    return answer.status, answer.json["message"]
