"""Plugins for tests: `plugin.py` as a process of the host that announces itself, or as a managed plugin."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.engines import Daemon
from tests.support.net import Neighbourhood
from tests.support.waiting import until

PROGRAM = Path(__file__).parent / "plugin.py"
PYTHON = "/usr/bin/python3"


@contextmanager
def plugin_host(kind: type[Daemon], sockets: Path, archive: Path, *, timeout_s: int) -> Iterator[Daemon]:
    """An engine with busybox that looks for plugins of the host where a test puts them: in `sockets`."""
    places = [f"--plugin-directory={sockets}", f"--plugin-directory={sockets}/specs"]
    daemon = kind(options=[*places, f"--plugin-timeout={timeout_s}"])
    try:
        daemon.start()
        daemon.docker("load", "-i", archive)
        yield daemon
    finally:
        daemon.close()


class HostPlugin:
    """A plugin of the host, with its socket, what it was called with and how it misbehaves in `home`.

    It runs in the network namespace of `net`, if that is given.
    """

    def __init__(self, directory: Path, name: str, net: Neighbourhood | None = None) -> None:
        self.name, self.home = name, directory / name
        self.home.mkdir(exist_ok=True)
        self._net = net
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.home / f"{self.name}.sock"

    def start(self) -> None:
        """Run, if it does not; returns when it listens."""
        if self._process is not None and self._process.poll() is None:
            return
        self.socket.unlink(missing_ok=True)
        command = [PYTHON, "-P", str(PROGRAM), str(self.socket)]
        process = self._process = subprocess.Popen(
            self._net.entered(command) if self._net else command,
            env={**os.environ, "VOLUMES": str(self.home / "volumes")},
            stderr=subprocess.DEVNULL,
        )
        until(self.socket.exists, what="the plugin to listen", process=process)

    def kill(self) -> None:
        """End it; its socket stays, and nobody listens there."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ended(self) -> None:
        """Wait until it has ended by itself."""
        assert self._process is not None
        self._process.wait(60)

    def misbehave(self, wrong: dict[str, Any]) -> None:
        """Let calls of these methods go wrong from now on, in one of the ways that the program knows."""
        part = self.home / "misbehave.part"
        part.write_text(json.dumps(wrong))
        part.rename(self.home / "misbehave")

    def calls(self, method: str) -> list[Any]:
        """The bodies that it was called with."""
        text = (self.home / "calls").read_text()
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [body for called, body in lines if called == method]


@contextmanager
def announced(
    directory: Path, name: str, net: Neighbourhood | None = None, **misbehaviour: str
) -> Iterator[HostPlugin]:
    """A plugin of the host. `misbehaviour` by method, with _ for the dot."""
    plugin = HostPlugin(directory, name, net)
    plugin.misbehave({method.replace("_", "."): how for method, how in misbehaviour.items()})
    try:
        plugin.start()
        yield plugin
    finally:
        plugin.kill()


def bind(path: str) -> dict[str, Any]:
    options = ["rbind", "ro"]
    return {"name": path[1:], "source": path, "destination": path, "type": "bind", "options": options}


def context(directory: Path, *kinds: str, **settings: Any) -> Path:
    """The directory of a managed plugin with these interfaces; the interpreter is the host's."""
    root = directory / "rootfs"
    for name in ("usr", "lib", "lib64", "bin", "mnt/volumes", "run/docker/plugins"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "plugin.py").write_bytes(PROGRAM.read_bytes())
    config = {
        "description": "for tests",
        "entrypoint": [PYTHON, "/plugin.py", "/run/docker/plugins/p.sock"],
        "interface": {"types": [f"docker.{kind}/1.0" for kind in kinds], "socket": "p.sock"},
        "env": [{"name": "MOOD", "settable": ["value"], "value": "calm"}],
        "linux": {"capabilities": ["CAP_SYS_ADMIN"]},
        "network": {"type": "host"},
        "propagatedMount": "/mnt/volumes",
        "mounts": [bind(path) for path in ("/usr", "/lib", "/lib64") if os.path.exists(path)],
        **settings,
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory
