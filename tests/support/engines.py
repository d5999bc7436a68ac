"""Engines that a test can start, kill, start again and stop: ours and the distribution's dockerd.

Each has one short directory for all it owns (a unix socket's path has 107 bytes), a network of its own
(`Neighbourhood`) and a cgroup parent of its own. `start()` returns when GET /_ping answers; `kill()` is
SIGKILL and nothing else, so that containers and their monitors go on; `close()` ends everything.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.cli import DockerCLI
from tests.support.http import Http
from tests.support.images import BUSYBOX
from tests.support.leaks import Traces, look, mounts, processes
from tests.support.net import Neighbourhood
from tests.support.waiting import until

BRIDGE_SUBNET = "172.17.0.1/16"  # in a namespace of its own no subnet is taken


class Daemon:
    """What both engines have in common; a subclass says how it is started and what its books are."""

    name = ""
    books = re.compile("$^")

    def __init__(self, *, options: Iterable[str] = (), root: Path | None = None) -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix=f"lm-{self.name}-", dir="/tmp"))
        self.root.chmod(0o755)
        for part in ("data", "exec", "tmp", "cli"):
            (self.root / part).mkdir(exist_ok=True)
        self.net = Neighbourhood()
        self.socket = self.root / "d.sock"
        self.cgroup_parent = f"lmt-{secrets.token_hex(3)}"
        self.options = list(options)
        self.process: subprocess.Popen[bytes] | None = None
        self.docker = DockerCLI(self.socket, self.root / "cli")
        self.http = Http(self.socket)

    @property
    def data(self) -> Path:
        """The data root."""
        return self.root / "data"

    @property
    def exec(self) -> Path:
        """The exec root."""
        return self.root / "exec"

    @property
    def log(self) -> str:
        """Everything the daemon has written so far, in all its lives."""
        path = self.root / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self) -> list[str]:
        """The daemon's command line."""
        raise NotImplementedError

    def start(self, *, env: Mapping[str, str] | None = None) -> None:
        """Start the daemon; returns when it answers a ping.

        Raises: TooLate, with the end of its log, if it never does.
        """
        with (self.root / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.net.entered(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(self.root / "tmp"), **(env or {})},
                start_new_session=True,
            )
        try:
            until(self.answers, what=f"{self.name} to answer", process=self.process)
        except AssertionError as error:
            error.add_note(self.log[-4000:])
            raise

    def answers(self) -> bool:
        """Whether GET /_ping is answered."""
        with contextlib.suppress(OSError):
            return self.http("GET", "/_ping").status == 200
        return False

    def kill(self) -> None:
        """SIGKILL to the daemon alone; returns when it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> int:
        """SIGTERM to the daemon; its exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def restart_killed(self) -> None:
        """Kill and start again: what a crash is."""
        self.kill()
        self.start()

    def traces(self) -> Traces:
        """What it has on the host at this moment."""
        daemon = self.process.pid if self.process else -1
        return look(self.root, self.net, self.cgroup_parent, self.books, daemon)

    def clean(self) -> None:
        """Remove all containers, and volumes and networks of users; images stay."""
        for container in self.http.ok("GET", "/containers/json?all=1"):
            answer = self.http("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            assert answer.status in (204, 404, 409), answer
        for volume in self.http.ok("GET", "/volumes")["Volumes"] or []:
            self.http("DELETE", f"/volumes/{volume['Name']}?force=1")

    def forget_images(self) -> None:
        """Remove every image and every name but busybox."""
        for image in self.http.ok("GET", "/images/json?all=1"):
            tags = image["RepoTags"] or []
            if BUSYBOX not in tags:
                self.http("DELETE", f"/images/{image['Id']}?force=1")
            for name in {*tags, *(image["RepoDigests"] or [])} - {BUSYBOX} if BUSYBOX in tags else ():
                self.http("DELETE", f"/images/{name}")

    def close(self) -> None:
        """End the daemon, everything it has started, and its files."""
        if self.process:
            if self.answers():
                self.clean()
            self.stop()
        for pid, _ in processes(self.net):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for point in sorted(mounts(self.root), reverse=True):
            subprocess.run(["umount", "-l", point], check=False)
        self.net.close()
        for top in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup_parent}"):
            for path, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        shutil.rmtree(self.root, ignore_errors=True)


class Engine(Daemon):
    """Lighterman, run from the environment that runs the tests."""

    name = "ours"
    books = re.compile(
        r"^data/(state\.db[^/]*|[a-z]+|blobs/sha256(/..)?|layers/[0-9a-f]+/init(/.*)?)$|^exec/([a-z.]+|seccomp/[0-9a-f]+)$"
    )

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "lighterman",
            "daemon",
            f"--data-root={self.data}",
            f"--exec-root={self.exec}",
            f"--host=unix://{self.socket}",
            f"--pidfile={self.root}/d.pid",
            f"--bip={BRIDGE_SUBNET}",
            f"--cgroup-parent=/{self.cgroup_parent}",
            *self.options,
        ]

    def store_complaints(self) -> list[str]:
        """What `lighterman check --store` finds wrong with its data root."""
        command = [
            sys.executable,
            "-m",
            "lighterman",
            "check",
            "--store",
            "--json",
            f"--data-root={self.data}",
        ]
        told = subprocess.run(command, check=False, capture_output=True, text=True)
        complaints: list[str] = json.loads(told.stdout)["complaints"]
        return complaints


class Reference(Daemon):
    """The distribution's dockerd with a containerd of its own. It survives `kill()` by live-restore."""

    name = "ref"

    def command(self) -> list[str]:
        return [
            "dockerd",
            f"--data-root={self.data}",
            f"--exec-root={self.exec}",
            f"--host=unix://{self.socket}",
            f"--pidfile={self.root}/d.pid",
            f"--bip={BRIDGE_SUBNET}",
            f"--cgroup-parent=/{self.cgroup_parent}",
            "--live-restore",
            *self.options,
        ]

    def stop(self) -> int:
        code = super().stop()
        for pid, command in processes(self.net):  # live-restore leaves containerd and shims
            if "containerd" in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return code


def configured(daemon: Daemon, **settings: object) -> Path:
    """A daemon.json with `settings` under the daemon's root."""
    path = daemon.root / "daemon.json"
    path.write_text(json.dumps(settings))
    return path
