"""A bench per test, and the check that it left nothing."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.runtime.bench import Bench

APPLETS = ("sh", "cat", "echo", "sleep", "true", "seq", "dd", "stty", "ls", "kill", "head", "grep", "tail")


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("busybox")
    for place in ("bin", "proc", "dev", "etc"):
        (root / place).mkdir()
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "plain").write_text("not executable\n")
    return root


@pytest.fixture
async def bench(tmp_path: Path, busybox_root: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, busybox_root)
    await bench.open()
    yield bench
    await bench.close()
    check_nothing_is_left(bench)


def check_nothing_is_left(bench: Bench) -> None:
    assert str(bench.tmp) not in Path("/proc/self/mountinfo").read_text()
    assert not list((bench.exec_root / "c").iterdir())
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(bench.exec_root) not in left
    for cgroup in Path("/sys/fs/cgroup").glob(f"*{bench.cgroup_parent}"):
        os.rmdir(cgroup)  # EBUSY: one is left below it
