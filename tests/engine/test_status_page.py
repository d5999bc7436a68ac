"""The status page of a real engine: as a program gets it, and as a browser shows it where there is one."""

import http.client
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved
from tests.support.waiting import until

PORT = 2379
BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def shown() -> Iterator[Engine]:
    engine = Engine(options=[f"--status=tcp://127.0.0.1:{PORT}"])
    try:
        engine.start()
        engine.docker("load", stdin=saved([BUSYBOX]))
        engine.docker.run("-d", "--name=lantern", "-e", "TOKEN=hidden", "busybox", "sleep", "600")
        yield engine
    finally:
        engine.close()


class Visit(http.client.HTTPConnection):
    """A connection to the page's listener, in the engine's network."""

    def __init__(self, engine: Engine) -> None:
        super().__init__("127.0.0.1", PORT, timeout=60)
        self.engine = engine

    def connect(self) -> None:
        self.sock: socket.socket = self.engine.net.connect(("127.0.0.1", PORT))
        self.sock.settimeout(60)

    def asked(self, path: str) -> Any:
        self.request("GET", path)
        answer = self.getresponse()
        assert answer.status == 200, (path, answer.read())
        return json.loads(answer.read())


def test_the_page_is_told_what_there_is_and_no_secrets(shown: Engine) -> None:
    visit = Visit(shown)
    (container,) = visit.asked("/containers/json?all=1")
    assert container["Names"] == ["/lantern"]
    assert visit.asked(f"/containers/{container['Id']}/stats?stream=0")["memory_stats"]["usage"] > 0
    assert visit.asked("/images/json")[0]["RepoTags"] == [BUSYBOX]
    assert {"bridge", "host", "none"} == {each["Name"] for each in visit.asked("/networks")}
    assert visit.asked("/info")["ContainersRunning"] == 1
    assert "hidden" not in json.dumps(visit.asked("/containers/json?all=1"))
    assert f"status page on http://127.0.0.1:{PORT}" in shown.log


def test_the_page_hears_events_as_they_come(shown: Engine) -> None:
    visit = Visit(shown)
    visit.request("GET", "/events?since=0")
    lines = visit.getresponse()
    shown.docker("volume", "create", "cargo")
    while json.loads(lines.readline())["Actor"]["ID"] != "cargo":
        pass
    shown.docker("volume", "rm", "cargo")


@pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium")
def test_a_browser_shows_it(shown: Engine, tmp_path: Path) -> None:
    def dom(place: str) -> str:
        command = [
            *(str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
            *("--virtual-time-budget=5000", "--dump-dom", f"http://127.0.0.1:{PORT}/#{place}"),
        ]
        done = subprocess.run(
            shown.net.entered(command), capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout

    until(
        lambda: re.search(r"lantern.*running.*sleep 600.*\d\.\d %", dom("containers"), re.S),
        what="the container with its load",
        timeout_s=120,
    )
    until(
        lambda: re.search(r"container create.*lantern", dom("events"), re.S), what="its event", timeout_s=120
    )
    until(lambda: "ContainerCreate" in dom("api"), what="the API", timeout_s=120)
