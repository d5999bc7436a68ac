"""What is installed beside the engine: the manual page, completions, units."""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lighterman.daemon.config import options

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"


def test_the_manual_page_has_every_option() -> None:
    page = subprocess.run(
        [sys.executable, PACKAGING / "manual.py"], capture_output=True, text=True, check=True
    ).stdout
    for option in options():
        assert r"\-\-" + option.flag.name.replace("-", r"\-") + r"\fR" in page, option.key
    assert not re.search(r"^'", page, re.M), "a line that roff takes for a request"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands_and_flags(shell: str) -> None:
    env = {**os.environ, "_LIGHTERMAN_COMPLETE": f"{shell}_source"}
    command = [Path(sys.executable).with_name("lighterman")]
    script = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
    assert "_LIGHTERMAN_COMPLETE" in script
    asked = {"COMP_WORDS": "lighterman daemon --tlsv", "COMP_CWORD": "2"}
    env = {**os.environ, **asked, "_LIGHTERMAN_COMPLETE": "bash_complete"}
    offered = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
    assert "--tlsverify" in offered


@pytest.mark.parametrize(("unit", "section"), [("service", "Service"), ("socket", "Socket")])
def test_units_can_be_read(unit: str, section: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(PACKAGING / f"lighterman.{unit}")
    assert {"Unit", section, "Install"} <= set(parser.sections())


def test_scripts_are_whole() -> None:
    for script in PACKAGING.glob("*.sh"):
        subprocess.run(["bash", "-n", script], check=True)


def test_every_dependency_is_pinned_with_its_hashes() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    lock = (PACKAGING / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)[^\n]*\\\n    --hash=sha256:", lock, re.M))
    for each in map(Requirement, asked):
        assert each.specifier.contains(pinned[each.name]), each
    assert len(pinned) == len(re.findall(r"^[\w-]+==", lock, re.M))
