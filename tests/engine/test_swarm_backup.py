"""A swarm that is lost with its disk is brought back from one file."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.swarm import Host, lone_manager
from tests.support.waiting import until

from lighterman.daemon import swarm_files

IMAGE = "127.0.0.1:1/busybox"
IDLE = (IMAGE, "sh", "-c", "trap exit TERM; while :; do sleep 0.1; done")


@pytest.fixture
def host(archive: Path) -> Iterator[Host]:
    """A swarm with a secret, and a service that reads it."""
    with lone_manager(archive, IMAGE) as host:
        host.docker("secret", "create", "word", "-", stdin=b"sesame")
        host.docker("service", "create", "-dq", "--no-resolve-image", "--name=web", "--secret=word", *IDLE)
        yield host


@pytest.fixture
def before(host: Host) -> Any:
    return host.http.ok("GET", "/swarm")


def shown(host: Host) -> str:
    """What the one task of the service reads of its secret; "" while there is none."""
    running = host.docker.out("ps", "-q", "--filter", "name=web.1.")
    return host.docker("exec", running, "cat", "/run/secrets/word", check=False).stdout if running else ""


def test_services_and_secrets_come_back_with_a_backup(host: Host, before: Any, tmp_path: Path) -> None:
    file = tmp_path / "swarm.tar"
    assert swarm_files.backup(file, host.engine.data, host.engine.exec) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"sesame" not in file.read_bytes()

    host.engine.stop()
    shutil.rmtree(host.engine.data / "swarm")
    assert swarm_files.restore(file, host.engine.data) == 0
    host.engine.start()
    until(lambda: host.info["ControlAvailable"], what="the manager")
    after = host.http.ok("GET", "/swarm")
    assert (after["ID"], after["JoinTokens"]) == (before["ID"], before["JoinTokens"])
    until(lambda: shown(host) == "sesame", what="the task with its secret")
    assert not (host.engine.data / "swarm" / "restored").exists()
