"""Processes as the kernel tells of them."""

import os
import socket
import subprocess
import sys

import pytest

from lighterman.linux import process, sockets


def test_a_process_is_named_by_pid_and_start_time() -> None:
    assert process.start_time(os.getpid()) == process.start_time(os.getpid())
    with subprocess.Popen(["true"]) as child:
        pass
    assert process.start_time(child.pid) is None


@pytest.mark.parametrize(("script", "code"), [("exit 9", 9), ("kill -TERM $$", 143)])
def test_an_end_is_said_as_a_shell_says_it(script: str, code: int) -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], {})
    pidfd = os.pidfd_open(pid)
    _, status = os.waitpid(pid, 0)
    assert process.shell_code(status) == code
    if (kernel := tuple(int(part) for part in os.uname().release.split(".")[:2])) >= (6, 15):
        assert process.exit_code(pidfd) == code, kernel
    os.close(pidfd)


def test_a_living_process_has_no_exit_code() -> None:
    pidfd = os.pidfd_open(os.getpid())
    assert process.exit_code(pidfd) is None
    os.close(pidfd)


def test_fds_travel_with_a_message_and_are_closed_on_exec() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    with ours, theirs:
        sockets.send(ours, b"one", [writer])
        sockets.send(ours, b"two")
        message, fds = sockets.receive(theirs)
        assert (message, len(fds)) == (b"one", 1)
        assert not os.get_inheritable(fds[0])
        os.write(fds[0], b"through")
        assert os.read(reader, 16) == b"through"
        assert sockets.receive(theirs) == (b"two", [])
        ours.close()
        assert sockets.receive(theirs) == (b"", [])
    for fd in (reader, writer, *fds):
        os.close(fd)


def test_open_files_are_raised_to_what_is_allowed() -> None:
    program = """
import resource
from lighterman.linux.process import raise_open_files
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
raise_open_files()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
