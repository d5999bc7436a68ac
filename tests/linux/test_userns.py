"""User namespaces: their maps, who owns them, and whose the files are that somebody makes meanwhile."""

import os
import threading
from pathlib import Path

import pytest

from lighterman.linux import netns, userns
from lighterman.linux.userns import IdMap, Range

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mapping others' ids needs root")
ID_MAP = IdMap((Range(0, 700_000, 10), Range(10, 800_000, 5)), (Range(0, 900_000, 15),))


@pytest.fixture(autouse=True)
def possible() -> None:
    try:
        os.close(userns.create(ID_MAP)[0])
    except OSError as error:
        pytest.skip(f"no user namespaces here: {error}")


def test_a_namespace_is_made_from_any_thread_and_owns_the_network() -> None:
    found: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: found.append(userns.create(ID_MAP, network=True)))
    thread.start()
    thread.join()
    ((user, network),) = found
    owner = userns.owner(network)
    assert os.fstat(owner).st_ino == os.fstat(user).st_ino != os.stat("/proc/self/ns/user").st_ino
    for fd in (owner, user, network):
        os.close(fd)


def test_who_makes_it_is_gone() -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = children.read_text()
    os.close(userns.create(ID_MAP)[0])
    assert children.read_text() == before


def test_a_process_that_is_in_it_sees_its_map() -> None:
    user, _ = userns.create(ID_MAP)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            userns.enter(user)
            told = f"{os.getuid()} {os.getgid()} {os.stat('/proc/1').st_uid}"
        except OSError as error:
            told = str(error)
        os.write(writer, told.encode())
        os.kill(os.getpid(), 19)  # until it was looked at
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    try:
        assert os.read(reader, 100).decode() == "0 0 65534"
        assert userns.map_of(pid) == ID_MAP
        assert userns.map_of(os.getpid()) is None
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        for fd in (user, reader, writer):
            os.close(fd)


def test_files_belong_to_whom_one_acts_as(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with userns.acting_as(*ID_MAP.root):
        (closed / "made").touch()  # with all capabilities still
    (closed / "after").touch()
    assert ((closed / "made").stat().st_uid, (closed / "made").stat().st_gid) == ID_MAP.root
    assert ((closed / "after").stat().st_uid, (closed / "after").stat().st_gid) == (0, os.getegid())


def test_without_a_map_network_namespaces_belong_to_the_host() -> None:
    fd = netns.new()
    owner = userns.owner(fd)
    assert os.fstat(owner).st_ino == os.stat("/proc/self/ns/user").st_ino
    os.close(owner)
    os.close(fd)
