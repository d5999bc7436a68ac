"""`docker run` in all its forms."""

import os
import re
from pathlib import Path

import pexpect
import pytest
from tests.support.cli import DockerCLI
from tests.support.registry import Registry
from tests.support.waiting import until

PROMPT = rb"/ # "


def test_output_and_errors_come_apart(docker: DockerCLI) -> None:
    done = docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_detached_answers_with_the_id_and_goes_on(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    assert re.fullmatch("[0-9a-f]{64}", cid)
    assert docker.inspect(cid)["State"]["Status"] == "running"


def test_rm_leaves_no_container_and_no_anonymous_volume(docker: DockerCLI) -> None:
    docker.run("--rm", "-v", "/data", "busybox", "true")
    assert (docker.out("ps", "-aq"), docker.out("volume", "ls", "-q")) == ("", "")


def test_stdin_is_piped_in_and_its_end_is_an_end_of_file(docker: DockerCLI) -> None:
    assert docker.run("-i", "--rm", "busybox", "sh", "-c", "cat; echo end", stdin=b"a\nb\n") == "a\nb\nend"


def test_three_megabytes_come_back_as_they_went(docker: DockerCLI) -> None:
    data = os.urandom(3_000_000)
    with docker.spawn("run", "-i", "--rm", "busybox", "cat", stdin=-1) as client:
        out, err = client.communicate(data, timeout=60)
    assert (out == data, err, client.returncode) == (True, b"", 0)


def test_without_i_stdin_is_empty(docker: DockerCLI) -> None:
    assert docker.run("--rm", "busybox", "cat", stdin=b"never read") == ""


def test_a_terminal_is_a_terminal_of_the_clients_size(docker: DockerCLI) -> None:
    shell = docker.pty("run", "-it", "--rm", "busybox", "sh", rows=31, columns=97)
    shell.expect(PROMPT)
    shell.sendline(b"tty; until stty size | grep '31 97'; do :; done")
    shell.expect(rb"/dev/(pts/0|console)\r\n")
    shell.expect(rb"31 97\r\n")
    shell.expect(PROMPT)
    shell.setwinsize(33, 101)
    shell.sendline(b"until stty size | grep '33 101'; do :; done; exit 5")
    shell.expect(rb"\n33 101\r\n")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 5


def test_detach_keys_leave_the_container_running_and_attach_comes_back(docker: DockerCLI) -> None:
    shell = docker.pty("run", "-it", "--name", "box", "busybox", "sh")
    shell.expect(PROMPT)
    shell.send(b"\x10\x11")
    shell.expect(pexpect.EOF)
    shell.close()
    assert (shell.exitstatus, docker.inspect("box")["State"]["Running"]) == (0, True)
    again = docker.pty("attach", "--detach-keys", "ctrl-x,x", "box")
    again.sendline(b"echo re''born")
    again.expect(rb"reborn\r\n")
    again.send(b"\x18x")
    again.expect(pexpect.EOF)
    assert docker.inspect("box")["State"]["Running"]


def test_a_client_that_is_interrupted_passes_the_signal_on(docker: DockerCLI) -> None:
    with docker.spawn("run", "busybox", "sh", "-c", "trap 'exit 9' INT; echo up; sleep 600 & wait") as client:
        assert client.stdout
        assert client.stdout.readline() == b"up\n"
        client.send_signal(2)
        assert client.wait(timeout=20) == 9


def test_the_environment_is_the_images_and_the_users(docker: DockerCLI) -> None:
    env = dict(
        line.split("=", 1)
        for line in docker.run(
            "--rm", "-e", "A=1 = one", "-e", "B=", "-h", "named", "busybox", "env"
        ).splitlines()
    )
    env.pop("SHLVL", None)
    assert env == {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": "named",
        "A": "1 = one",
        "B": "",
        "HOME": "/root",
    }


def test_a_terminal_sets_term(docker: DockerCLI) -> None:
    assert "TERM=xterm" in docker.run("--rm", "-t", "busybox", "env")


def test_a_working_directory_is_made_where_it_is_missing(docker: DockerCLI) -> None:
    assert docker.run("--rm", "-w", "/made/for/me", "busybox", "pwd") == "/made/for/me"


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups"),
    [
        ("1000:1000", "1000", "1000", "1000"),
        ("app", "1000", "1000", "1000 2000"),
        ("app:extra", "1000", "2000", "2000"),
        ("4711", "4711", "0", "0"),
        ("nobody:nobody", "65534", "65534", "65534"),
    ],
)
def test_a_user_is_looked_up_in_the_image(
    docker: DockerCLI, user: str, uid: str, gid: str, groups: str
) -> None:
    script = "id -u; id -g; grep ^Groups /proc/self/status"
    told = docker.run("--rm", "-u", user, "busybox", "sh", "-c", script).splitlines()
    assert (told[0], told[1]) == (uid, gid)
    assert set(told[2].split()[1:]) | {gid} == set(groups.split())


def test_a_user_that_is_not_there_is_refused(docker: DockerCLI) -> None:
    done = docker("run", "--rm", "-u", "nosuch", "busybox", "true", check=False)
    assert "unable to find user nosuch: no matching entries in passwd file" in done.stderr
    assert done.code == 125


def test_an_entrypoint_takes_the_place_of_the_images(docker: DockerCLI) -> None:
    assert docker.run("--rm", "--entrypoint", "echo", "busybox", "a", "b") == "a b"
    assert docker.inspect("busybox")["Config"]["Cmd"] == ["sh"]


def test_a_name_is_taken_once(docker: DockerCLI) -> None:
    cid = docker.out("create", "--name", "only", "busybox")
    again = docker("create", "--name", "only", "busybox", check=False)
    assert (
        f'Conflict. The container name "/only" is already in use by container "{cid}". '
        "You have to remove (or rename) that container to be able to reuse that name." in again.stderr
    )


def test_a_bind_mount_shows_the_hosts_files_both_ways(docker: DockerCLI, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    script = "cat /m/in; echo from inside > /m/out"
    assert docker.run("--rm", "-v", f"{tmp_path}:/m", "busybox", "sh", "-c", script) == "from the host"
    assert (tmp_path / "out").read_text() == "from inside\n"


def test_a_read_only_bind_mount_refuses_writes(docker: DockerCLI, tmp_path: Path) -> None:
    done = docker("run", "--rm", "-v", f"{tmp_path}:/m:ro", "busybox", "touch", "/m/x", check=False)
    assert (done.code, "Read-only file system" in done.stderr) == (1, True)


def test_the_source_of_a_bind_is_made_where_it_is_missing(docker: DockerCLI, tmp_path: Path) -> None:
    docker.run("--rm", "-v", f"{tmp_path}/new/one:/m", "busybox", "true")
    assert (tmp_path / "new/one").is_dir()


def test_a_named_volume_outlives_its_containers_and_starts_with_the_images_files(docker: DockerCLI) -> None:
    docker.run("--rm", "-v", "kept:/etc", "busybox", "sh", "-c", "echo hello > /etc/note")
    assert docker.out("volume", "ls", "-q") == "kept"
    assert docker.run("--rm", "-v", "kept:/v:ro", "busybox", "cat", "/v/note", "/v/group").startswith(
        "hello\nroot"
    )
    used = docker.out("create", "-v", "kept:/v", "busybox")
    refused = docker("volume", "rm", "kept", check=False)
    assert f"remove kept: volume is in use - [{used}]" in refused.stderr
    docker("rm", used)
    assert docker.out("volume", "rm", "kept") == "kept"


def cgroup_value(pid: int, controller: str, v1: str, v2: str) -> str:
    """What the kernel holds for this process: the file `v1` or `v2` of its cgroup."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return (Path("/sys/fs/cgroup") / controller / path.lstrip("/") / v1).read_text().strip()
    return (Path("/sys/fs/cgroup") / path.lstrip("/") / v2).read_text().strip()


def test_a_memory_limit_is_the_kernels(docker: DockerCLI) -> None:
    cid = docker.run("-d", "--memory", "64m", "busybox", "sleep", "600")
    pid = docker.inspect(cid)["State"]["Pid"]
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)


def test_cpus_are_a_quota_of_the_kernel(docker: DockerCLI) -> None:
    cid = docker.run("-d", "--cpus", "0.5", "busybox", "sleep", "600")
    pid = docker.inspect(cid)["State"]["Pid"]
    assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"


def test_a_missing_image_is_pulled_and_a_missing_one_told(docker: DockerCLI) -> None:
    done = docker("run", "--rm", "127.0.0.1:9/nothing:here", "true", check=False)
    assert done.code == 125
    assert "Unable to find image '127.0.0.1:9/nothing:here' locally" in done.stderr


def test_run_pulls_what_is_not_there(docker: DockerCLI, registry: Registry, archive: Path) -> None:
    image = registry.push(archive, "run:1")
    assert docker.run("--rm", image, "echo", "pulled") == "pulled"


def test_the_host_name_and_the_managed_files_are_the_containers(docker: DockerCLI) -> None:
    cid = docker.run("-d", "busybox", "sleep", "600")
    address = docker.inspect(cid)["NetworkSettings"]["IPAddress"]
    hosts = docker.out("exec", cid, "cat", "/etc/hosts")
    assert f"{address}\t{cid[:12]}" in hosts
    assert docker.out("exec", cid, "hostname") == cid[:12]
    assert docker.out("exec", cid, "cat", "/etc/hostname") == cid[:12]


def test_a_process_that_forks_away_does_not_hold_the_end_back(docker: DockerCLI) -> None:
    assert docker.run("--rm", "busybox", "sh", "-c", "sleep 600 & echo gone") == "gone"


def test_twenty_at_once_all_run(docker: DockerCLI) -> None:
    clients = [docker.spawn("run", "--rm", "busybox", "echo", str(n)) for n in range(20)]
    said = [client.communicate(timeout=60)[0].decode().strip() for client in clients]
    assert said == [str(n) for n in range(20)]
    until(lambda: docker.out("ps", "-aq") == "", what="no container left")
