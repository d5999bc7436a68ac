"""The family of a process."""

import os
import subprocess

from lighterman.linux.descent import descendants, kill_descendants


def test_all_below_a_process_are_killed_and_it_is_not() -> None:
    script = "sh -c 'sleep 60 & echo up; wait; true' ; echo done; read x"
    with subprocess.Popen(["sh", "-c", script], stdin=-1, stdout=-1) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"up\n"
        below = descendants(shell.pid)
        assert len(below) == 2
        assert os.getpgid(below[0]) == os.getpgid(shell.pid)
        kill_descendants(shell.pid)
        assert shell.stdout.readline() == b"done\n"
        shell.communicate(b"\n")


def test_nobody_has_no_family() -> None:
    assert descendants(2**22 + 1) == []
