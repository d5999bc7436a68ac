"""What an engine holds alone."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lighterman.daemon.process import claim_data_root, connections_possible, held_alone, pidfile
from lighterman.errdefs import System

HOLDER = """
import sys
from pathlib import Path
from lighterman.daemon.process import held_alone
with held_alone(Path(sys.argv[1]), "x"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(lock: Path) -> Iterator[int]:
    """Another process holds the lock for as long as the block lasts; its id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
        holder.communicate()


def test_two_engines_never_share_a_data_root_and_the_second_learns_of_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held_by_another(lock) as pid:
        expected = f"^data root is in use: process with PID {pid} is still running$"
        with pytest.raises(System, match=expected), held_alone(lock, "data root"):
            pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = HOLDER.replace("sys.stdin.read()", "import os; os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", code, lock], stdout=subprocess.DEVNULL, check=False)
    with held_alone(lock, "data root"):
        assert lock.read_text() == f"{os.getpid()}\n"


def test_a_pidfile_names_the_process_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lighterman.pid"
    with pidfile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_directory_of_somebody_else_is_not_taken_for_a_data_root(tmp_path: Path) -> None:
    (tmp_path / "overlay2").mkdir()
    with pytest.raises(System, match="is not empty and is no data root of Lighterman"):
        claim_data_root(tmp_path)


@pytest.mark.parametrize("found", [[], ["lost+found"], ["lock"], ["state.db", "content", "anything"]])
def test_an_empty_root_or_our_own_is_taken(tmp_path: Path, found: list[str]) -> None:
    for name in found:
        (tmp_path / name).mkdir()
    claim_data_root(tmp_path)


@pytest.mark.parametrize(("descriptors", "clients"), [(64, 16), (1024, 768), (20_000, 15_000)])
def test_clients_leave_descriptors_for_the_engine_itself(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, clients: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert connections_possible() == clients
