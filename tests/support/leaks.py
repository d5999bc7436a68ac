"""What an engine has left on its host: counted by what the kernel knows, never by what the engine says."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import fields
from tests.support.net import Neighbourhood

CGROUPS = Path("/sys/fs/cgroup")


class Traces(Struct, frozen=True):
    """One look at everything an engine can leave behind, each as readable lines."""

    mounts: frozenset[str]
    netns: frozenset[str]
    links: frozenset[str]
    rules: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]

    def beyond(self, before: "Traces") -> list[str]:
        """What is here and was not there `before`."""
        return [
            f"{field.name}: {line}"
            for field in fields(self)
            for line in sorted(getattr(self, field.name) - getattr(before, field.name))
        ]


def look(root: Path, net: Neighbourhood, cgroup_parent: str, passing: re.Pattern[str], daemon: int) -> Traces:
    """The traces of the engine whose files lie under `root` and whose host is `net`.

    Files whose path matches `passing` are the engine's books, not traces; nor is the process `daemon` one,
    nor are its children, which end with it.
    """
    return Traces(
        frozenset(mounts(root)),
        frozenset(str(path) for path in (root / "exec").glob("netns/*")),
        frozenset(links(net)),
        frozenset(rules(net)),
        frozenset(cgroups(cgroup_parent)),
        frozenset(f"{pid} {command}" for pid, command in processes(net) if daemon not in (pid, parent(pid))),
        frozenset(files(root, passing)),
    )


def mounts(root: Path) -> Iterator[str]:
    """Mount points under `root`, seen from here."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{root}/"):
            yield point


def links(net: Neighbourhood) -> Iterator[str]:
    """Names of the links in the engine's network namespace."""
    told = subprocess.run(["ip", "-n", net.name, "-j", "link"], check=True, capture_output=True)
    for link in json.loads(told.stdout):
        yield link["ifname"]


def rules(net: Neighbourhood) -> Iterator[str]:
    """The lines of the nft ruleset in the engine's network namespace, without counters."""
    told = subprocess.run(net.entered(["nft", "list", "ruleset"]), check=True, capture_output=True, text=True)
    table = ""
    for line in told.stdout.splitlines():
        if line.startswith("table"):
            table = line.rstrip("{ ")
        yield f"{table}: {re.sub(r'packets [0-9]+ bytes [0-9]+', '', line).strip()}"


def cgroups(parent: str) -> Iterator[str]:
    """Cgroups below `parent` in any hierarchy."""
    for top in {*CGROUPS.glob(f"*/{parent}"), CGROUPS / parent}:
        for path, _, _ in os.walk(top):
            if Path(path) != top:
                yield str(Path(path).relative_to(CGROUPS))


def processes(net: Neighbourhood) -> Iterator[tuple[int, str]]:
    """(pid, command line) of every process in the engine's network namespace."""
    home = os.stat(net.netns).st_ino
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(entry / "ns/net").st_ino == home:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    yield int(entry.name), command.strip()
        except OSError:  # it ended while we looked
            continue


def parent(pid: int) -> int:
    """The parent's pid; 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def files(root: Path, passing: re.Pattern[str]) -> Iterator[str]:
    """Files and directories below the engine's roots, none of another file system, no books."""
    for top in ("data", "exec", "tmp"):
        device = os.stat(root / top).st_dev if (root / top).exists() else 0
        for path, folders, names in os.walk(root / top):
            folders[:] = [f for f in folders if device_of(os.path.join(path, f)) == device]
            for name in (*folders, *names):
                place = os.path.relpath(os.path.join(path, name), root)
                if not passing.search(place):
                    yield place


def device_of(path: str) -> int:
    """The file system that a file is on; 0 for what has gone while we looked, which so is not left over."""
    try:
        return os.lstat(path).st_dev
    except FileNotFoundError:
        return 0
