"""What `lighterman swarm` answers where it can do nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.daemon.test_process import held_by_another
from tests.swarm.born import BORN, made_of

from lighterman.__main__ import main
from lighterman.swarm import backup


def swarm(*argv: object) -> Result:
    return CliRunner().invoke(main, ["swarm", *map(str, argv)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    backup.write(made_of(BORN, tmp_path / "before"), tmp_path / "swarm.tar")
    return tmp_path / "swarm.tar"


def test_an_engine_in_no_swarm_has_none_to_keep(tmp_path: Path) -> None:
    answer = swarm("backup", tmp_path / "file", "--data-root", tmp_path, "--exec-root", tmp_path)
    assert (answer.exit_code, (tmp_path / "file").exists()) == (1, False)
    assert answer.output.startswith("no backup was made: This node is not a swarm manager.")


def test_a_swarm_is_restored_for_an_engine_that_is_yet_to_start(tmp_path: Path, file: Path) -> None:
    answer = swarm("restore", file, "--data-root", tmp_path / "data")
    assert (answer.exit_code, (tmp_path / "data" / "swarm" / "node.json").exists()) == (0, True)
    assert "docker swarm init --force-new-cluster" in answer.output
    again = swarm("restore", file, "--data-root", tmp_path / "data")
    assert (again.exit_code, "holds a swarm already" in again.output) == (1, True)


def test_nothing_is_restored_below_an_engine_that_runs(tmp_path: Path, file: Path) -> None:
    (tmp_path / "data").mkdir()
    with held_by_another(tmp_path / "data" / "lock"):
        answer = swarm("restore", file, "--data-root", tmp_path / "data")
    assert (answer.exit_code, "is in use: process with PID" in answer.output) == (1, True)
    assert not (tmp_path / "data" / "swarm").exists()


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    answer = swarm("restore", tmp_path / "file", "--data-root", tmp_path / "data")
    assert (answer.exit_code, (tmp_path / "data").exists()) == (1, False)
    assert answer.output.startswith("nothing was restored: ")
