"""The unchanged docker command line, pointed at one engine."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pexpect
from msgspec import Struct

DOCKER = os.environ.get("LIGHTERMAN_DOCKER", "docker")


class Result(Struct, frozen=True):
    """How a command ended."""

    stdout: str
    stderr: str
    code: int


class Failed(AssertionError):
    """A command that had to succeed did not."""


class Beside(subprocess.Popen[bytes]):
    """A process that ends with the `with` it is used in, whatever happened there."""

    def __exit__(self, *raised: Any) -> None:
        self.kill()
        super().__exit__(*raised)


class DockerCLI(Struct, frozen=True):
    """docker with DOCKER_HOST set to `socket`, and with no configuration of the user who runs the tests."""

    socket: Path
    config: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of each command."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        return {
            **kept,
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.config),
            "TERM": "xterm",
        }

    def __call__(
        self, *args: object, stdin: bytes = b"", check: bool = True, timeout_s: float = 60
    ) -> Result:
        """Run one command to its end. Raises: Failed, with all it said, unless `check` is off."""
        argv = [DOCKER, *map(str, args)]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, timeout=timeout_s, env=self.env, check=False
        )
        result = Result(
            done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode
        )
        if check and result.code:
            raise Failed(f"{' '.join(argv)}: exit {result.code}\n{result.stdout}{result.stderr}")
        return result

    def out(self, *args: object, stdin: bytes = b"") -> str:
        """What a successful command printed, without the last newline."""
        return self(*args, stdin=stdin).stdout.removesuffix("\n")

    def run(self, *args: object, stdin: bytes = b"") -> str:
        """`docker run` with these arguments: its output, or the container's id with -d."""
        return self.out("run", *args, stdin=stdin)

    def inspect(self, ref: str) -> Any:
        """The inspected object."""
        return json.loads(self.out("inspect", ref))[0]

    def spawn(self, *args: object, stdin: int = subprocess.DEVNULL) -> "Beside":
        """A command that goes on beside the test, with pipes for what it says."""
        return Beside(
            [DOCKER, *map(str, args)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env,
        )

    def pty(self, *args: object, rows: int = 24, columns: int = 80) -> "pexpect.spawn[bytes]":
        """A command under a terminal of its own."""
        return pexpect.spawn(
            DOCKER,
            [*map(str, args)],
            env={name: value for name, value in self.env.items()},
            dimensions=(rows, columns),
            timeout=60,
        )
