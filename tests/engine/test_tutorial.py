"""docs/tutorial.md, as somebody who types it: each command succeeds and prints what the page says."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engines import Engine

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
FILE = re.compile(r"`([\w.-]+)`:\n\n```\w+\n(.*?)```", re.S)
CONSOLE = re.compile(r"```console\n(.*?)```", re.S)
LONGEST_S = 180
END = "\N{END OF TRANSMISSION}"


def steps() -> Iterator[tuple[str, str]]:
    """Commands, each with what it prints; a line of … stands for any lines."""
    for block in CONSOLE.findall(PAGE):
        for step in block.split("$ ", 1)[1].split("\n$ "):
            command, _, printed = step.partition("\n")
            yield command, printed.strip()


def matches(printed: str, came: str) -> bool:
    return re.fullmatch(re.escape(printed).replace("…", ".*"), came.strip(), re.S) is not None


@pytest.fixture
def an_end() -> None:
    """No limit of seconds but the script's own: it is a dozen of programs, one after the other."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One of its own: the page makes another image of the name busybox."""
    engine = Engine()
    try:
        engine.start()
        yield engine
    finally:
        engine.close()


@pytest.mark.beyond_dockerd
def test_every_command_of_the_tutorial_prints_what_it_says(engine: Engine, tmp_path: Path) -> None:
    for name, content in FILE.findall(PAGE):
        (tmp_path / name).write_text(content)
    script = "set -e\n" + "".join(f"{command}\nprintf {END}\n" for command, _ in steps())
    done = subprocess.run(
        engine.net.entered(["bash", "-c", script]),
        cwd=tmp_path,
        env={**os.environ, "DOCKER_HOST": f"unix://{engine.socket}", "DOCKER_CONFIG": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )
    came = done.stdout.split(END)
    wrong = [
        f"{command}\nwanted: {printed}\ncame: {said}"
        for (command, printed), said in zip(steps(), came, strict=False)
        if not matches(printed, said)
    ]
    assert not wrong, "\n".join(wrong)
    assert done.returncode == 0, done.stdout + done.stderr
