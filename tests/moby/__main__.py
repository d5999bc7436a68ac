"""`python -m tests.moby --moby CHECKOUT PACKAGE [-- FLAGS of go test]`, as root."""

import os
import subprocess
import sys
from pathlib import Path

import click
from tests.moby import box
from tests.moby.frozen import freeze

_TAGS = "exclude_graphdriver_devicemapper exclude_graphdriver_btrfs exclude_graphdriver_zfs seccomp"
"""Parts of moby that need more libraries, and that no test of these suites wants."""
_ALONE = ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--propagation", "private"]


@click.command()
@click.option(
    "--moby", required=True, type=click.Path(exists=True, path_type=Path), help="A checkout in a GOPATH."
)
@click.option(
    "--reference", is_flag=True, help="Run dockerd, not ours: what fails there is no fault of ours."
)
@click.option("--home", default="/tmp/moby-suites", type=click.Path(path_type=Path), help="Keeps logs.")
@click.argument("package")
@click.argument("flags", nargs=-1)
def main(moby: Path, reference: bool, home: Path, package: str, flags: tuple[str, ...]) -> None:
    """Run the tests of PACKAGE (integration/container, integration-cli, ...) beside a fresh engine."""
    freeze()
    kind = "dockerd" if reference else "ours"
    program = home / "programs" / f"{package.replace('/', '-')}.test"
    go = os.environ | {"GOPATH": str(moby.parents[3]), "GO111MODULE": "off", "GOFLAGS": "-mod=vendor"}
    compiled = ["go", "test", "-tags", _TAGS, "-c", "-o", str(program), f"./{package}"]
    subprocess.run(compiled, cwd=moby, env=go, check=True)
    boxed = [*_ALONE, sys.executable, str(Path(box.__file__)), kind, str(home / kind)]
    done = subprocess.run([*boxed, str(program), "-test.v", *flags], cwd=moby / package, env=go, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
