"""Plugins, for real: installed ones in their own root, and processes of the host that announce themselves."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon
from tests.support.images import digest
from tests.support.plugins import PYTHON, announced, context, plugin_host
from tests.support.registry import MANIFEST, Registry
from tests.support.waiting import until

pytestmark = pytest.mark.beyond_dockerd
TIMEOUT_S = 1


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sockets")


@pytest.fixture(scope="module")
def host(new_engine: type[Daemon], sockets: Path, archive: Path) -> Iterator[Daemon]:
    with plugin_host(new_engine, sockets, archive, timeout_s=5) as daemon:
        yield daemon


@pytest.fixture
def docker(host: Daemon) -> Iterator[DockerCLI]:
    yield host.docker
    host.clean()
    for plugin in host.http.ok("GET", "/plugins"):
        host.http("DELETE", f"/plugins/{plugin['Name']}?force=1")


@pytest.fixture
def volumes(docker: DockerCLI, tmp_path: Path) -> str:
    """A volume plugin, enabled; its name."""
    docker("plugin", "create", "me/vol", context(tmp_path / "vol", "volumedriver"))
    docker("plugin", "enable", "me/vol")
    return "me/vol:latest"


def test_a_plugin_is_made_set_enabled_disabled_and_removed(
    docker: DockerCLI, host: Daemon, tmp_path: Path
) -> None:
    since = time.time()
    docker("plugin", "create", "me/p", context(tmp_path, "volumedriver"))
    assert docker.out("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}") == "me/p:latest false"
    docker("plugin", "set", "me/p", "MOOD=wild")
    docker("plugin", "enable", "me/p")
    refused = docker("plugin", "set", "me/p", "MOOD=mild", check=False).stderr
    assert "cannot set on an active plugin, disable plugin before setting" in refused
    assert "plugin me/p:latest is enabled" in docker("plugin", "rm", "me/p", check=False).stderr
    assert host.http("POST", "/plugins/me/p/enable").status == 409
    told = json.loads(docker.out("plugin", "inspect", "me/p"))[0]
    assert told["Settings"]["Env"] == ["MOOD=wild"]
    assert told["Config"]["Interface"]["Types"] == ["docker.volumedriver/1.0"]
    assert docker.out("plugin", "ls", "-q", "--filter", "capability=volumedriver", "--filter", "enabled=true")
    assert not docker.out("plugin", "ls", "-q", "--filter", "capability=authz")
    docker("plugin", "disable", "me/p")
    docker("plugin", "rm", "me/p")
    assert host.http("GET", "/plugins/me/p/json").json == {"message": 'plugin "me/p" not found'}
    events = docker.out(
        *("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--filter", "type=plugin"),
        *("--format", "{{.Action}} {{.Actor.Attributes.name}}"),
    )
    assert events.splitlines() == [
        "create me/p:latest",
        "enable me/p",
        "disable me/p",
        "remove me/p",
    ]


def test_what_a_plugin_mounts_is_what_a_container_sees(docker: DockerCLI, volumes: str) -> None:
    docker("volume", "create", "-d", volumes, "data")
    assert docker.run("--rm", "-v", "data:/d", "busybox", "stat", "-f", "-c", "%T", "/d") == "tmpfs"
    docker.run("-d", "--name", "user", "-v", "data:/d", "busybox", "sleep", "600")
    told = json.loads(docker.out("volume", "inspect", "data"))[0]
    assert told["Driver"] == volumes
    assert (told["Scope"], told["Status"]) == ("global", {"users": 1})
    assert docker.inspect("user")["Mounts"][0]["Source"] == told["Mountpoint"] != ""
    assert f"plugin {volumes} is in use" in docker("plugin", "disable", volumes, check=False).stderr
    docker("rm", "-f", "user")
    assert json.loads(docker.out("volume", "inspect", "data"))[0]["Status"] == {"users": 0}
    docker("volume", "rm", "data")


def test_a_plugin_outlives_a_killed_engine_and_its_users_are_known(
    docker: DockerCLI, host: Daemon, volumes: str
) -> None:
    docker("volume", "create", "-d", volumes, "data")
    docker.run("-d", "--name", "user", "-v", "data:/d", "busybox", "sleep", "600")
    (home,) = (host.exec / "plugins").iterdir()
    socket = (home / "p.sock").stat().st_ino
    host.restart_killed()
    assert (home / "p.sock").stat().st_ino == socket
    assert f"plugin {volumes} is in use" in docker("plugin", "disable", volumes, check=False).stderr
    docker("rm", "-f", "user")
    assert json.loads(docker.out("volume", "inspect", "data"))[0]["Status"] == {"users": 0}
    docker("volume", "rm", "data")


def test_a_plugin_that_dies_is_started_again(docker: DockerCLI, host: Daemon, volumes: str) -> None:
    (home,) = (host.exec / "plugins").iterdir()
    (home / "misbehave").write_text(json.dumps({"VolumeDriver.Create": "crash"}))
    failed = docker("volume", "create", "-d", volumes, "data", check=False).stderr
    assert "VolumeDriver.Create" in failed
    assert "EOF" in failed
    # it comes back with an empty directory of sockets, and so without its bad habit
    docker("volume", "create", "-d", volumes, "data")
    docker("volume", "rm", "data")


def test_a_plugin_goes_to_a_registry_and_comes_back_with_what_it_may(
    docker: DockerCLI, host: Daemon, tmp_path: Path
) -> None:
    registry = Registry(host.net, tmp_path)
    try:
        first, second = f"{registry.name}/me/p:1", f"{registry.name}/me/p:2"
        docker("plugin", "create", first, context(tmp_path / "1", "volumedriver"))
        newer = context(tmp_path / "2", "volumedriver", description="newer")
        docker("plugin", "create", second, newer)
        docker("plugin", "push", first)
        docker("plugin", "push", second)
        docker("plugin", "rm", first, second)
        asked = host.http.ok("GET", f"/plugins/privileges?remote={first}")
        assert [each["Name"] for each in asked] == ["network", "mount", "mount", "mount", "capabilities"]
        less = host.http("POST", f"/plugins/pull?remote={first}&name=p", asked[1:])
        assert b"incorrect privileges" in less.body
        assert host.http.ok("GET", "/plugins") == []
        docker("plugin", "install", "--grant-all-permissions", "--alias", "p", first, "MOOD=wild")
        docker("plugin", "disable", "p")
        docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", "p", second)
        told = json.loads(docker.out("plugin", "inspect", "p"))[0]
        assert told["Config"]["Description"] == "newer"
        assert told["Settings"]["Env"] == ["MOOD=wild"]
        assert told["PluginReference"] == second
        docker("plugin", "enable", "p")
        told = as_dockerd_pushes(registry, "me/p", "2", "3")
        docker("plugin", "install", "--grant-all-permissions", "--alias", "q", told)
    finally:
        registry.close()


def as_dockerd_pushes(registry: Registry, repository: str, tag: str, other: str) -> str:
    """The plugin under another tag as dockerd since 20.10 makes it: its layer is known by the packed one."""
    manifest = json.loads(registry.manifest(repository, tag, MANIFEST))
    config = json.loads(registry.curl("-L", f"{repository}/blobs/{manifest['config']['digest']}"))
    config["rootfs"]["diff_ids"] = [layer["digest"] for layer in manifest["layers"]]
    document = json.dumps(config).encode()
    manifest["config"] |= {"digest": digest(document), "size": len(document)}
    where = registry.curl("-X", "POST", "-D", "-", "-o", "/dev/null", f"{repository}/blobs/uploads/").decode()
    place = next(line.partition(" ")[2] for line in where.splitlines() if line.startswith("Location:"))
    put = ("-X", "PUT", "--data-binary", "@-", "-H")
    registry.curl(
        *put,
        "Content-Type: application/octet-stream",
        f"{place.strip().partition('/v2/')[2]}&digest={digest(document)}",
        data=document,
    )
    registry.curl(
        *put,
        f"Content-Type: {MANIFEST}",
        f"{repository}/manifests/{other}",
        data=json.dumps(manifest).encode(),
    )
    return f"{registry.name}/{repository}:{other}"


def test_a_plugin_that_does_not_listen_is_not_enabled(docker: DockerCLI, tmp_path: Path) -> None:
    wrong = context(tmp_path, "volumedriver", entrypoint=[PYTHON, "-c", "raise SystemExit(7)"])
    docker("plugin", "create", "me/mute", wrong)
    failed = docker("plugin", "enable", "me/mute", check=False).stderr
    assert "the plugin ended with exit code 7" in failed
    assert docker.out("plugin", "ls", "--format", "{{.Enabled}}") == "false"


def test_an_archive_without_configuration_or_root_is_no_plugin(docker: DockerCLI, host: Daemon) -> None:
    answer = host.http("POST", "/plugins/create?name=x", b"\0" * 1024, {"Content-Type": "application/x-tar"})
    assert (answer.status, answer.json) == (400, {"message": "config not found"})
    assert host.http("GET", "/plugins").json == []


# plugins of the host


def test_a_plugin_of_the_host_is_found_by_its_socket(docker: DockerCLI, sockets: Path) -> None:
    with announced(sockets, "sock") as plugin:
        docker("volume", "create", "-d", "sock", "-o", "a=b", "data")
        assert plugin.calls("VolumeDriver.Create") == [{"Name": "data", "Opts": {"a": "b"}}]
        docker.run("--rm", "-v", "data:/d", "busybox", "touch", "/d/x")
        (mounted,), (unmounted,) = plugin.calls("VolumeDriver.Mount"), plugin.calls("VolumeDriver.Unmount")
        assert mounted == unmounted
        docker("volume", "rm", "data")


def test_a_plugin_of_the_host_is_found_by_its_description(docker: DockerCLI, sockets: Path) -> None:
    with announced(sockets, "elsewhere") as plugin:
        (sockets / "specs").mkdir(exist_ok=True)
        (sockets / "specs" / "described.spec").write_text(f"unix://{plugin.socket}\n")
        docker("volume", "create", "-d", "described", "data")
        docker("volume", "rm", "data")


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("crash", "EOF"),
        ("nonsense", "VolumeDriver.Create: the plugin wrong-nonsense answered nonsense"),
        ("refuse", "create data: not today"),
        ("status", "VolumeDriver.Create: broken"),
    ],
)
def test_a_driver_that_fails_is_told_with_what_it_said(
    docker: DockerCLI, sockets: Path, how: str, text: str
) -> None:
    with announced(sockets, f"wrong-{how}", VolumeDriver_Create=how):
        assert text in docker("volume", "create", "-d", f"wrong-{how}", "data", check=False).stderr
        assert docker.out("volume", "ls", "-q") == ""


def test_an_unknown_driver_is_not_waited_for(docker: DockerCLI) -> None:
    failed = docker("volume", "create", "-d", "nope", "data", check=False).stderr
    assert 'create data: error looking up volume plugin nope: plugin "nope" not found' in failed


def test_a_driver_that_hangs_is_named_and_holds_up_nobody_else(
    new_engine: type[Daemon], sockets: Path
) -> None:
    daemon = new_engine(options=[f"--plugin-directory={sockets}", f"--plugin-timeout={TIMEOUT_S}"])
    try:
        daemon.start()
        with announced(sockets, "slow", VolumeDriver_Create="hang"):
            waiting = daemon.docker.spawn("volume", "create", "-d", "slow", "data")
            with waiting:
                daemon.docker("volume", "create", "other")
                _, failed = waiting.communicate(timeout=20)
        assert b"the plugin slow did not answer within 1 s" in failed
    finally:
        daemon.close()


def test_a_plugin_takes_a_log_and_gives_it_back(docker: DockerCLI, sockets: Path) -> None:
    with announced(sockets, "logger") as plugin:
        speak = ("busybox", "sh", "-c", "echo out; echo err >&2")
        docker.run("--name", "kept", "--log-driver", "logger", "--log-opt", "x=y", *speak)
        kept = docker("logs", "kept")
        assert (kept.stdout, kept.stderr) == ("out\n", "err\n")
        told = plugin.calls("LogDriver.StartLogging")[0]["Info"]
        assert (told["ContainerName"], told["Config"]) == ("/kept", {"x": "y"})
        docker.run("--name", "there", "--log-driver", "logger", "--log-opt", "cache-disabled=true", *speak)
        until(lambda: docker("logs", "there").stderr == "err\n", what="the plugin to have read all")
        assert docker("logs", "there").stdout == "out\n"
        assert len(plugin.calls("LogDriver.StopLogging")) == 2


def test_nobody_logs_to_a_plugin_that_refuses(docker: DockerCLI, sockets: Path) -> None:
    with announced(sockets, "shy", LogDriver_StartLogging="refuse"):
        failed = docker("run", "--rm", "--log-driver", "shy", "busybox", "true", check=False).stderr
        assert "failed to initialize logging driver: error creating logger: not today" in failed


# authorization


def test_a_plugin_decides_who_may_what(new_engine: type[Daemon], sockets: Path, archive: Path) -> None:
    options = [f"--plugin-directory={sockets}", "--authorization-plugin=guard", "--plugin-timeout=1"]
    daemon = new_engine(options=options)
    try:
        with announced(sockets, "guard") as plugin:
            daemon.start()
            docker, http = daemon.docker, daemon.http
            docker("load", "-i", archive)
            docker.run("-d", "--name", "it", "busybox", "sleep", "600")
            body = json.dumps({"Name": "forbidden"}).encode()
            plain = http("POST", "/volumes/create", body, {"Content-Type": "application/json"})
            denied = {"message": "authorization denied by plugin guard: it is forbidden"}
            assert (plain.status, plain.json) == (403, denied)
            chunked = http(
                "POST",
                "/volumes/create",
                b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
                {"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
            )
            assert chunked.status == 403
            assert http("GET", "/volumes").json["Volumes"] == []
            assert docker.out("exec", "it", "echo", "hi") == "hi"
            assert any("/exec/" in call["RequestUri"] for call in plugin.calls("AuthZPlugin.AuthZRes"))
            large = b'{"Name": "' + b"x" * (5 << 20) + b'"}'
            refused = http("POST", "/volumes/create", large, {"Content-Type": "application/json"})
            assert refused.status == 400
            assert b"request body too large" in refused.body
            plugin.misbehave({"AuthZPlugin.AuthZReq": "hang"})
            silent = http("GET", "/version")
            assert silent.status == 500
            assert b"plugin guard failed with error" in silent.body
            plugin.misbehave({})
            docker("rm", "-f", "it")
    finally:
        daemon.close()
