"""Where a suite runs: network, mounts and processes of its own, and an engine where it looks for one.

A program: `unshare ... python box.py KIND HOME COMMAND...` runs COMMAND beside the engine KIND (`ours`,
`dockerd`), whose data, logs and socket are below HOME. Daemons that the tests start are `dockerd` on their
PATH, for ours a script that leaves out what is plumbing of containerd.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_DOCKERD = """#!/bin/bash
kept=() next=
for each in "$@"; do
    case "$next$each" in
    --containerd|--containerd-namespace|--containerd-plugins-namespace) next=skip ;;
    skip*) next= ;;
    --containerd=*) ;;
    *) kept+=("$each") ;;
    esac
done
exec {python} -m lighterman daemon --api-max 1.41 "${{kept[@]}}"
"""
_PLACES = {"run": "/run", "lib": "/var/lib/docker", "lib-ours": "/var/lib/lighterman", "etc": "/etc/docker"}


def dress(kind: str, home: Path) -> None:
    """Let the places that the suites know be empty and ours, and the programs that they call be there."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for inside, place in _PLACES.items():
        shutil.rmtree(home / inside, ignore_errors=True)
        (home / inside).mkdir(parents=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", home / inside, place], check=True)
    Path("/run/lock").mkdir()
    programs = home / "bin"
    shutil.rmtree(programs, ignore_errors=True)
    programs.mkdir()
    _program(programs / "registry-v2", '#!/bin/sh\nexec docker-registry serve "$@"\n')
    (programs / "docker").symlink_to("/usr/bin/docker")  # of dockerd's version: the suites compare its words
    if kind == "ours":
        _program(programs / "dockerd", _DOCKERD.format(python=sys.executable))
    else:
        (programs / "dockerd").symlink_to("/usr/sbin/dockerd")
    for inside in ("tmp", "dest", "home"):
        (home / inside).mkdir(exist_ok=True)
    os.environ |= {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home / "home"),
        "TMPDIR": str(home / "tmp"),
        "DEST": str(home / "dest"),
        "DOCKER_HOST": "unix:///var/run/docker.sock",
        "DOCKER_BUILDKIT": "0",
        "DOCKER_GRAPHDRIVER": "overlay2",
    }


def _program(place: Path, text: str) -> None:
    place.write_text(text)
    place.chmod(0o755)


def start_engine(home: Path) -> None:
    """Have the engine that the suites find, and wait until it answers."""
    with (home / "engine.log").open("wb") as log:
        subprocess.Popen(["dockerd", "--data-root", "/var/lib/docker", "--debug"], stdout=log, stderr=log)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect("/var/run/docker.sock")
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if client.recv(4096):
                return
        time.sleep(0.05)
    raise SystemExit(f"the engine does not answer: {home / 'engine.log'}")


if __name__ == "__main__":
    kind, home, command = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    dress(kind, home)
    start_engine(home)
    sys.exit(subprocess.run(command, check=False).returncode)
