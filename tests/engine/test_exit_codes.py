"""The exit code of `docker run` is the container's, or one of 125, 126, 127 and 128 + signal."""

import pytest
from tests.support.cli import DockerCLI


@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 126, 127, 128, 254, 255])
def test_the_code_of_the_command_is_the_code_of_run(docker: DockerCLI, code: int) -> None:
    assert docker("run", "--rm", "busybox", "sh", "-c", f"exit {code}", check=False).code == code


def test_what_the_engine_refuses_is_125(docker: DockerCLI) -> None:
    assert docker("run", "--rm", "--memory", "1k", "busybox", "true", check=False).code == 125


@pytest.mark.parametrize("command", ["nosuchcmd", "/no/such/cmd"])
def test_a_command_that_is_not_there_is_127(docker: DockerCLI, command: str) -> None:
    result = docker("run", "--name", "box", "busybox", command, check=False)
    assert result.code == 127
    reason = {
        "nosuchcmd": 'exec: "nosuchcmd": executable file not found in $PATH: unknown',
        "/no/such/cmd": 'exec: "/no/such/cmd": stat /no/such/cmd: no such file or directory: unknown',
    }[command]
    assert result.stderr.splitlines()[0] == (
        "docker: Error response from daemon: failed to create shim task: OCI runtime create failed: "
        f"runc create failed: unable to start container process: {reason}"
    )
    state = docker.inspect("box")["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("created", 127, False)


@pytest.mark.parametrize("command", ["/etc", "/etc/passwd"])
def test_a_command_that_cannot_be_run_is_126(docker: DockerCLI, command: str) -> None:
    result = docker("run", "--rm", "busybox", command, check=False)
    assert (result.code, f'exec: "{command}": permission denied' in result.stderr) == (126, True)


def test_a_killed_container_is_137(docker: DockerCLI) -> None:
    with docker.spawn("run", "--name", "box", "busybox", "sh", "-c", "echo up; sleep 600") as client:
        assert client.stdout
        assert client.stdout.readline() == b"up\n"
        docker("kill", "box")
        assert client.wait(timeout=20) == 137
    assert docker.inspect("box")["State"]["ExitCode"] == 137


def test_the_signal_of_a_command_that_dies_by_one_is_told(docker: DockerCLI) -> None:
    """The first process of a pid namespace is deaf to its own signals; its child is not."""
    script = "sh -c 'kill -TERM $$'; exit $?"
    assert docker("run", "--rm", "busybox", "sh", "-c", script, check=False).code == 143


def test_out_of_memory_is_137_and_told(docker: DockerCLI) -> None:
    docker("run", "--name", "box", "--memory", "16m", "--memory-swap", "16m", "busybox",
           "sh", "-c", "exec tail /dev/zero", check=False)  # fmt: skip
    state = docker.inspect("box")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (137, True)
