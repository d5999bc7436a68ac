"""Builds by the classic builder: through the docker command line, docker-py and raw requests."""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import docker as docker_py
import pytest
import zstandard
from tests.engine.conftest import lasting
from tests.engine.test_faults import small_disk
from tests.support.cli import DockerCLI
from tests.support.contexts import build, context
from tests.support.engines import Daemon, Engine, configured
from tests.support.http import Http, UnixConnection
from tests.support.images import entry, tarball
from tests.support.registry import Registry
from tests.support.waiting import until

from lighterman.build.stage import STEP_PROCESSES

CLASSIC = {"DOCKER_BUILDKIT": "0"}


@pytest.fixture(autouse=True)
def _nothing_stays(engine: Daemon) -> Iterator[None]:
    yield
    engine.clean()
    engine.forget_images()
    if isinstance(engine, Engine):
        engine.http.ok("POST", "/build/prune?all=1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A context on disk with two files."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a").write_text("A")
    (tmp_path / "b").write_text("B")
    return tmp_path


def containers(http: Http) -> list[str]:
    return [each["Id"] for each in http.ok("GET", "/containers/json?all=1")]


# The command line and docker-py


def test_the_command_line_builds_and_the_image_runs(docker: DockerCLI, folder: Path) -> None:
    (folder / "Dockerfile").write_text(
        "FROM busybox\nENV WHO=you\nWORKDIR /site\nCOPY . .\nRUN echo $WHO >/who\n"
        "CMD cat /who /site/b src/a\n"
    )
    told = docker("build", "-t", "made:1", "-t", "made", "--label", "x=y z", folder)
    lines = told.stdout.splitlines()
    assert lines[0].startswith("Sending build context to Docker daemon")
    assert "Step 1/7 : FROM busybox" in lines
    assert "Step 7/7 : LABEL x=y z" in lines
    assert lines[-2:] == ["Successfully tagged made:1", "Successfully tagged made:latest"]
    assert docker.run("--rm", "made") == "you\nBA"
    assert docker.inspect("made:1")["Config"]["Labels"] == {"x": "y z"}
    again = docker("build", folder)
    assert again.stdout.count("Using cache") == 5


def test_the_command_line_goes_on_with_the_classic_builder_where_it_has_no_other(
    docker: DockerCLI, folder: Path
) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nLABEL a=b")
    told = docker("build", "-q", "--iidfile", folder / "id", folder)
    assert (folder / "id").read_text().strip() == told.stdout.strip()
    assert "legacy builder is deprecated" in told.stderr


def test_a_step_that_fails_ends_the_build_with_its_code(docker: DockerCLI, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nRUN echo out; echo err >&2; exit 7\nRUN never\n")
    told = docker("build", folder, check=False)
    assert told.code == 7
    assert "out\n" in told.stdout
    assert "err" in told.stderr + told.stdout
    assert told.stderr.endswith(
        "The command '/bin/sh -c echo out; echo err >&2; exit 7' returned a non-zero code: 7\n"
    )


def test_docker_py_builds(engine: Daemon, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM busybox\nARG A\nRUN test $A = 1\nCOPY b /\n")
    client = docker_py.DockerClient(base_url=f"unix://{engine.socket}", timeout=30)
    image, told = client.images.build(
        path=str(folder), tag="py:1", buildargs={"A": "1"}, labels={"q": "r"}, rm=True, forcerm=True
    )
    assert image.tags == ["py:1"]
    assert image.labels == {"q": "r"}
    assert {"stream": "Successfully tagged py:1\n"} in list(told)
    with pytest.raises(docker_py.errors.BuildError, match="returned a non-zero code: 1"):
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN false\n"), rm=True, forcerm=True)
    client.close()


# Output and errors


def test_messages_are_those_of_docker(http: Http) -> None:
    built = build(http, "FROM busybox\nRUN echo hi\nLABEL a=b\n", "t=x:1")
    shape = re.sub(r"\b[0-9a-f]{12}\b", "ID", built.text)
    assert shape == (
        "Step 1/3 : FROM busybox\n ---> ID\nStep 2/3 : RUN echo hi\n ---> Running in ID\nhi\n"
        "Removing intermediate container ID\n ---> ID\nStep 3/3 : LABEL a=b\n ---> ID\n"
        "Successfully built ID\nSuccessfully tagged x:1\n"
    )
    assert built.messages[0] == {"stream": "Step 1/3 : FROM busybox"}
    assert http.ok("GET", "/images/x:1/json")["Id"] == built.image


def test_steps_are_images_that_the_history_names(http: Http) -> None:
    built = build(http, "FROM busybox\nRUN echo 1 >/f\nENV A=1\n", "t=named:1")
    env, run, *below = http.ok("GET", "/images/named:1/history")
    assert (env["Id"], env["Tags"], env["Size"]) == (built.image, ["named:1"], 0)
    assert (run["CreatedBy"], run["Size"]) == ("/bin/sh -c echo 1 >/f", 2)
    image = http.ok("GET", f"/images/{built.image}/json")
    assert image["Parent"] == run["Id"] == image["Config"]["Image"]
    assert below[0]["Tags"] == ["busybox:latest"]
    shown = [each["Id"] for each in http.ok("GET", "/images/json")]
    assert built.image in shown
    assert run["Id"] not in shown


def test_quiet_tells_the_id_alone(http: Http) -> None:
    quiet = build(http, "FROM busybox\nLABEL a=b\n", "q=1")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", quiet.text)
    failed = build(http, "FROM busybox\nRUN exit 3\n", "q=1&forcerm=1")
    assert "Step 2/2 : RUN exit 3" in failed.text
    assert failed.messages[-1]["errorDetail"]["code"] == 3


@pytest.mark.parametrize(
    ("dockerfile", "query", "words"),
    [
        ("FROM busybox", "t=UP", "invalid reference format: repository name must be lowercase"),
        ("FROM busybox", "dockerfile=nope", "Cannot locate specified Dockerfile: nope"),
        ("FROM busybox", "dockerfile=../x", "forbidden path outside the build context: ../x ()"),
        ("FROM busybox", "target=nope", "failed to reach build target nope in Dockerfile"),
        ("FROM busybox", "squash=1", "squash is only supported with experimental mode"),
        ("FROM busybox", "remote=nope", "remoteURL (nope) could not be recognized as URL"),
        ("FROM busybox", "buildargs=[]", "error reading build args: "),
        ("FROM busybox", "isolation=hyperv", 'Unsupported isolation: "hyperv"'),
        ("FROM busybox", "securityopt=x", "does not support setting security options on build"),
        ("FROM busybox", "remote=client-session", "experimental session with v1 builder"),
        ("FROM busybox\nFOO", "", "dockerfile parse error line 2: unknown instruction: FOO"),
        ("# nothing", "", "failed to parse Dockerfile: file with no instructions"),
        ("", "", "the Dockerfile (Dockerfile) cannot be empty"),
    ],
)
@pytest.mark.beyond_dockerd  # some of them are 500 there
def test_what_is_wrong_is_refused_before_anything_is_said(
    http: Http, dockerfile: str, query: str, words: str
) -> None:
    built = build(http, dockerfile, query)
    assert built.status == 400
    assert words in built.error


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        (
            "COPY nope /x",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does "
            "not exist",
        ),
        ("COPY ../a /x", "COPY failed: forbidden path outside the build context: ../a ()"),
        ("COPY a* /x", "COPY failed: no source files were specified"),
        ("COPY --chown=nope f /x", "can't find uid for user nope: no such user: nope"),
        ("COPY http://x/y /x", "COPY failed: source can't be a URL for COPY"),
        ("USER nope\nRUN id", "unable to find user nope: no matching entries in passwd file"),
        ("STOPSIGNAL FOO", "Invalid signal: FOO"),
        ('RUN ["nosuch"]', 'exec: "nosuch": executable file not found in $PATH: unknown'),
        ("COPY --from=Nobody f /x", "invalid from flag value Nobody: invalid reference format"),
        ("ADD cut.tar /", "failed to copy files: Error processing tar file(exit status 1): unexpected EOF"),
        ("VOLUME /etc /etc/passwd", "cannot mount volume over existing file, file exists "),
    ],
)
def test_what_fails_on_the_way_is_the_last_message(http: Http, dockerfile: str, words: str) -> None:
    files = {"f": b"", "cut.tar": tarball([(entry("x"), b"")])[: 3 * 512 - 1]}
    built = build(http, f"FROM busybox\n{dockerfile}\n", "forcerm=1", files)
    assert built.status == 200
    assert words in built.error


def test_a_step_of_no_command_runs_what_a_container_of_the_image_would(http: Http) -> None:
    built = build(http, 'FROM busybox\nCMD ["echo", "by", "itself"]\nRUN []\nENTRYPOINT ["echo"]\nRUN []\n')
    assert built.text.count("\nby itself\nRemoving") == 1
    assert built.text.count("\n\nRemoving") == 1
    assert "No command specified" in build(http, "FROM scratch\nRUN []\n").error


@pytest.mark.beyond_dockerd  # there COPY has none either, but LABEL has a container of its own
def test_a_step_tells_the_events_of_its_container(http: Http) -> None:
    since = time.time_ns()
    build(http, "FROM busybox\nRUN echo events\nCOPY f /f\nLABEL a=b\n", "t=told:1&nocache=1", {"f": b""})
    until_s = time.time() + 0.01
    query = f"since={since // 10**9}.{since % 10**9:09d}&until={until_s:.9f}"
    told = [json.loads(line) for line in http("GET", f"/events?{query}").body.splitlines()]
    of_containers = [each["Action"] for each in told if each["Type"] == "container"]
    assert of_containers == ["create", "attach", "start", "die", "destroy"]
    assert (told[-1]["Type"], told[-1]["Action"]) == ("image", "tag")
    assert told[-1]["Actor"]["Attributes"]["name"] == "told:1"


# The cache


def test_a_step_is_found_again_until_what_it_is_made_of_changes(http: Http) -> None:
    dockerfile = "FROM busybox\nARG A=1\nCOPY f /f\nRUN echo $A\n"
    assert build(http, dockerfile, "", {"f": b"1"}).cached == 0
    assert build(http, dockerfile, "", {"f": b"1", "other": b""}).cached == 3
    assert build(http, dockerfile, "", {"f": b"2"}).cached == 1
    assert build(http, dockerfile, "buildargs=" + quote('{"A": "2"}'), {"f": b"1"}).cached == 2
    assert build(http, dockerfile, "buildargs=" + quote('{"HTTP_PROXY": "x"}'), {"f": b"1"}).cached == 3
    assert build(http, dockerfile, "nocache=1", {"f": b"1"}).cached == 0


@pytest.mark.beyond_dockerd  # there the same is done ten times
def test_ten_builds_of_the_same_run_a_step_once(http: Http) -> None:
    dockerfile = "FROM busybox\nRUN sleep 0.2; cat /proc/sys/kernel/random/uuid >/u\nRUN cp /u /v\n"
    with ThreadPoolExecutor(10) as pool:
        built = list(pool.map(lambda _: build(http, dockerfile), range(10)))
    assert {each.image for each in built} == {built[0].image}
    assert sum(each.ran for each in built) == 2


def test_steps_are_found_in_images_that_are_named(http: Http, docker: DockerCLI, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nENV X=cachefrom\nRUN echo 1 >/n\nLABEL z=1\n"
    build(http, dockerfile, "t=from:1")
    docker("save", "-o", tmp_path / "from.tar", "from:1")
    docker("rmi", "from:1")
    docker("load", "-i", tmp_path / "from.tar")
    found = build(http, dockerfile, "cachefrom=" + quote('["from:1", "nothing"]'))
    assert found.cached == 3
    assert found.image == http.ok("GET", "/images/from:1/json")["Id"]
    other = build(http, dockerfile.replace("z=1", "z=2"), "cachefrom=" + quote('["from:1"]'))
    assert other.cached == 2


@pytest.mark.beyond_dockerd
def test_the_cache_outlives_the_engine(engine: Daemon, http: Http) -> None:
    dockerfile = "FROM busybox\nRUN echo kept\n"
    image = build(http, dockerfile).image
    engine.restart_killed()
    again = build(http, dockerfile)
    assert (again.cached, again.image) == (1, image)


# The graph


@pytest.mark.beyond_dockerd  # there one after the other
def test_stages_that_need_nothing_of_each_other_run_side_by_side(http: Http) -> None:
    """Each of three waits for the others: by turns they would wait for ever."""
    names = ("one", "two", "three")
    everybody = "; ".join(f"until test -e /m/{name}; do sleep 0.05; done" for name in names)
    stages = "".join(
        f"FROM busybox AS {name}\nRUN --mount=type=cache,id=meet,target=/m touch /m/{name}; {everybody}\n"
        for name in names
    )
    copies = "".join(f"COPY --from={place} /etc/group /{place}\n" for place in ("one", "1", "three"))
    built = build(http, f"{stages}FROM busybox AS unneeded\nRUN false\nFROM busybox\n{copies}")
    assert built.error == ""
    steps = re.findall(r"Step (\d+)/10 : (\w+)", built.text)
    assert [int(number) for number, _ in steps] == list(range(1, 11))
    assert [word for _, word in steps] == [*("FROM", "RUN") * 3, "FROM", *("COPY",) * 3]


def test_triggers_of_an_image_are_its_childrens_first_steps(http: Http) -> None:
    build(http, "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f\n", "t=parent:1")
    built = build(http, "FROM parent:1\nCMD x\n", "", {"f": b"triggered"})
    assert "# Executing 2 build triggers\n" in built.text
    assert "triggered" in built.text
    assert http.ok("GET", f"/images/{built.image}/json")["Config"]["OnBuild"] is None


# What steps find


@pytest.mark.beyond_dockerd  # there only what is pulled for it has the platform that was asked for
def test_an_image_is_built_for_the_platform_asked_for(http: Http) -> None:
    built = build(http, "FROM scratch\nCOPY f /\n", "platform=linux/arm/v7&t=localhost:1/arm", {"f": b""})
    image = http.ok("GET", f"/images/{built.image}/json")
    assert (image["Os"], image["Architecture"], image["Variant"]) == ("linux", "arm", "v7")
    upon = "FROM localhost:1/arm\nENV A=1\n"
    image = http.ok("GET", f"/images/{build(http, upon).image}/json")
    assert (image["Architecture"], image["Variant"]) == ("arm", "v7")
    other = build(http, upon, "platform=linux/s390x")
    assert "connection refused" in other.error  # the registry is asked for one that fits
    unknown = build(http, upon, "platform=foobar")
    assert (unknown.status, "unknown operating system or architecture" in unknown.error) == (400, True)
    wish = {"Image": "localhost:1/arm", "Cmd": ["f"]}
    made = http.ok("POST", "/containers/create", wish)
    (warning,) = made["Warnings"]
    assert "platform (linux/arm/v7) does not match the detected host platform (linux/" in warning
    newer = Http(http.socket, prefix="/v1.41")
    asked = newer.ok("POST", "/containers/create?platform=linux/arm/v7", wish)
    assert not asked["Warnings"]


def test_limits_network_and_hosts_reach_the_steps(http: Http) -> None:
    query = urlencode(
        {
            "memory": 64 << 20,
            "shmsize": 1 << 20,
            "networkmode": "none",
            "extrahosts": "there:1.2.3.4",
            "ulimits": json.dumps([{"Name": "nofile", "Soft": 99, "Hard": 99}]),
        }
    )
    built = build(
        http,
        "FROM busybox\nRUN ls /sys/class/net; grep there /etc/hosts; df -k /dev/shm | tail -1; ulimit -n; "
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true\n",
        query,
    )
    said = built.text.split("Running in")[1].splitlines()
    assert said[1] == "lo"
    assert said[2].split() == ["1.2.3.4", "there"]
    assert said[3].split()[1] == "1024"
    assert said[4] == "99"
    assert said[5] == str(64 << 20)


def test_shares_and_quotas_reach_the_steps(http: Http) -> None:
    wished = {"CpuShares": 512, "CpuPeriod": 50_000, "CpuQuota": 25_000, "CpusetCpus": "0"}
    wished |= {"Memory": 64 << 20, "MemorySwap": 80 << 20}
    query = {name.lower().replace("memoryswap", "memswap"): value for name, value in wished.items()}
    build(http, "FROM busybox\nRUN true\n", urlencode({**query, "rm": "0", "nocache": "1"}))
    (container,) = containers(http)
    kept = http.ok("GET", f"/containers/{container}/json")["HostConfig"]
    assert {name: kept[name] for name in wished} == wished


@pytest.mark.beyond_dockerd  # there it may have all that the host has
def test_a_fork_bomb_in_a_step_has_its_limit(http: Http) -> None:
    """What becomes of a bomb within its limit is in test_crowd."""
    built = build(http, "FROM busybox\nRUN cat /sys/fs/cgroup/pids/pids.max || cat /sys/fs/cgroup/pids.max\n")
    assert f"\n{STEP_PROCESSES}\n" in built.text


@pytest.mark.beyond_dockerd
def test_mounts_of_a_step_leave_nothing_in_its_image(http: Http) -> None:
    dockerfile = (
        "FROM busybox AS src\nRUN echo stage >/s\n"
        "FROM busybox\n"
        "RUN --mount=type=cache,target=/c/deep echo x >>/c/deep/f; wc -l </c/deep/f\n"
        "RUN --mount=type=bind,from=src,source=s,target=/m/s cat /m/s; ! touch /m/s\n"
        "RUN --mount=type=bind,source=f,target=/ctx cat /ctx\n"
        "RUN --mount=type=bind,rw,target=/w touch /w/new\n"
        "RUN --mount=type=tmpfs,target=/t touch /t/x\n"
        "RUN --mount=type=secret,id=none ls / | tr '\\n' ' '; ls /m /c /t /w /ctx 2>/dev/null | wc -l\n"
    )
    built = build(http, dockerfile, "", {"f": b"file"})
    assert built.error == ""
    said = built.text
    assert "\n1\n" in said
    assert "\nstage\n" in said
    assert "file" in said
    assert re.search(r"bin dev etc home proc root sys tmp var \n?0\n", said)
    (mount,) = [
        each for each in http.ok("GET", "/system/df")["BuildCache"] if each["Type"] == "exec.cachemount"
    ]
    assert (mount["Description"], mount["Size"]) == ("cached mount /c/deep", 2)


@pytest.mark.beyond_dockerd
def test_a_cache_begins_with_the_files_of_a_stage(http: Http) -> None:
    mount = "--mount=type=cache,target=/c,from=seed,source=/d"
    text = (
        "FROM busybox AS seed\nRUN mkdir -m 700 /d; echo {} >/d/f; chown -R 5:6 /d\n"
        f"FROM busybox\nRUN {mount} stat -c '%a %u:%g' /c /c/f; cat /c/f; echo more >>/c/f\n"
        f"RUN {mount} cat /c/f\n"
    )
    first = build(http, text.format("one"))
    assert "\n700 5:6\n644 5:6\none\n" in first.text
    assert "\none\nmore\n" in first.text
    assert build(http, text.format("one")).cached == 3
    assert "\n644 5:6\ntwo\n" in build(http, text.format("two")).text, "other files are another cache"
    missing = build(http, text.format("one").replace("source=/d", "source=/f"), "forcerm=1")
    assert "f: file does not exist" in missing.error


@pytest.mark.beyond_dockerd
@pytest.mark.parametrize("source", ["../../../../etc/passwd", "/out/passwd", "out"])
def test_a_mounts_source_does_not_leave_its_root(http: Http, source: str) -> None:
    dockerfile = f"FROM busybox\nRUN --mount=type=bind,source={source},target=/x cat /x /x/passwd\n"
    members = [
        (entry("Dockerfile", mode=0o644), dockerfile.encode()),
        (entry("out", kind=b"2", linkname="../../../../../etc"), b""),
    ]
    answer = http("POST", "/build?forcerm=1", tarball(members))
    assert b"root:" not in answer.body
    assert b"error" in answer.body


@pytest.mark.beyond_dockerd
def test_texts_in_the_dockerfile_are_files_and_programs(http: Http) -> None:
    built = build(
        http,
        "FROM busybox\nRUN <<EOF\necho one\necho two\nEOF\nRUN <<EOF\n#!/bin/busybox sh\necho script\nEOF\n"
        "COPY --chmod=741 <<a <<b /h/\ntext a\na\ntext b\nb\nRUN cat /h/*; stat -c %a /h/a\n",
    )
    assert "\none\ntwo\n" in built.text
    assert "\nscript\n" in built.text
    assert "text a\ntext b\n741\n" in built.text


def test_a_base_comes_with_the_credentials_of_the_request(
    http: Http, engine: Daemon, registry: Registry, archive: Path
) -> None:
    image = registry.push(archive, "base:1", form="oci")
    built = build(http, f"FROM {image}\nLABEL a=b\n", "pull=1")
    assert f"Status: Downloaded newer image for {image}" in json.dumps(built.messages)
    assert "Successfully built" in built.text
    missing = build(http, f"FROM {registry.name}/nothing\n")
    assert "manifest unknown" in missing.error or "not found" in missing.error


# Containers, ends and crashes


def test_containers_of_steps_go_or_stay_as_wished(http: Http) -> None:
    build(http, "FROM busybox\nRUN true\n", "rm=1")
    assert containers(http) == []
    build(http, "FROM busybox\nRUN echo 1\nRUN exit 1\n", "forcerm=1")
    assert containers(http) == []
    build(http, "FROM busybox\nRUN echo 2\nRUN exit 1\n", "rm=1")
    assert len(containers(http)) == 1
    build(http, "FROM busybox\nRUN echo 3 >/f\n", "rm=0")
    assert len(containers(http)) == 2


def begin(engine: Daemon, dockerfile: str) -> UnixConnection:
    """A build whose client is still there."""
    connection = UnixConnection(engine.socket, 30)
    connection.request("POST", "/v1.36/build", context(dockerfile))
    return connection


def running(http: Http) -> bool:
    return bool(http.ok("GET", "/containers/json"))


def test_a_client_that_goes_ends_the_build(engine: Daemon, http: Http) -> None:
    connection = begin(engine, "FROM busybox\nRUN echo cancelled; sleep 600\n")
    until(lambda: running(http), what="the step to run")
    assert connection.sock is not None
    connection.sock.close()
    connection.close()
    until(lambda: not containers(http), what="the step to be gone")


def test_a_client_that_goes_while_it_sends_leaves_nothing(engine: Daemon) -> None:
    connection = UnixConnection(engine.socket, 30)
    connection.putrequest("POST", "/v1.36/build")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    half = context("FROM busybox", {"large": os.urandom(3_000_000)})[:2_000_000]
    connection.send(b"%x\r\n%b\r\n" % (len(half), half))
    ingest = engine.data / "ingest"
    until(lambda: any(ingest.glob("*/root/*")), what="the context to arrive")
    assert connection.sock is not None
    connection.sock.close()
    connection.close()
    until(lambda: not any(ingest.iterdir()), what="the context to go")


@pytest.mark.beyond_dockerd
def test_an_engine_that_stops_ends_its_builds(engine: Daemon, http: Http) -> None:
    connection = begin(engine, "FROM busybox\nRUN echo stopped; sleep 600\n")
    until(lambda: running(http), what="the step to run")
    assert engine.stop() == 0
    connection.close()
    engine.start()
    assert containers(http) == []


@pytest.mark.beyond_dockerd
def test_a_killed_engine_leaves_nothing_of_a_build(engine: Daemon, http: Http) -> None:

    def listed() -> list[dict[str, str]]:
        return list(http.ok("GET", "/containers/json"))

    connection = begin(
        engine,
        "FROM busybox AS a\nRUN echo killed >/a\nRUN sleep 600\n"
        "FROM busybox AS b\nRUN --mount=type=bind,rw,target=/w sleep 601\n"
        "FROM a\nCOPY --from=b /x /x\n",
    )
    until(lambda: sum("sleep" in each["Command"] for each in listed()) == 2, what="both steps to run")
    engine.restart_killed()
    connection.close()
    until(lambda: not containers(http), what="the steps to be gone")
    assert list((engine.data / "ingest").iterdir()) == []
    assert build(http, "FROM busybox AS a\nRUN echo killed >/a\n").cached == 1


def test_nobody_prunes_what_a_build_stands_on(engine: Daemon, http: Http) -> None:
    connection = begin(engine, "FROM busybox\nRUN echo held >/f\nLABEL x=y\nRUN sleep 1; cat /f\nLABEL a=b\n")
    until(lambda: running(http), what="the step to run")
    http.ok("POST", "/images/prune")
    answer = connection.getresponse().read().decode()
    connection.close()
    assert "Successfully built" in answer


# What is left, and hostile contexts


@pytest.mark.beyond_dockerd
def test_prune_takes_what_no_image_needs(http: Http) -> None:
    build(http, "FROM busybox\nRUN echo 1 >/one\nLABEL a=b\n", "t=kept:1")
    build(http, "FROM busybox\nRUN echo 2 >/two\nRUN exit 1\n", "forcerm=1")
    steps = [each for each in http.ok("GET", "/system/df")["BuildCache"] if each["Type"] == "regular"]
    assert sorted(each["InUse"] for each in steps) == [False, True, True]
    pruned = http.ok("POST", "/build/prune")
    assert len(pruned["CachesDeleted"]) == 1
    assert pruned["SpaceReclaimed"] == 2
    assert build(http, "FROM busybox\nRUN echo 1 >/one\nLABEL a=b\n").cached == 2
    http.ok("POST", "/build/prune?all=1")
    assert build(http, "FROM busybox\nRUN echo 1 >/one\nLABEL a=b\n").cached == 0
    filters = quote(json.dumps({"until": ["24h"]}))
    assert http.ok("POST", f"/build/prune?all=1&filters={filters}")["CachesDeleted"] is None


@pytest.mark.beyond_dockerd
def test_prune_leaves_so_many_bytes_of_what_was_used_last(http: Http) -> None:
    made = [f"FROM busybox\nRUN head -c 10000 /dev/zero >/keep{number}\n" for number in range(4)]
    for dockerfile in made:
        build(http, dockerfile)
    pruned = http.ok("POST", "/build/prune?all=1&keep-storage=25000")
    assert (len(pruned["CachesDeleted"]), pruned["SpaceReclaimed"]) == (2, 20_000)
    assert [build(http, dockerfile).cached for dockerfile in made[2:]] == [1, 1]
    assert http.ok("POST", "/build/prune?all=1&keep-storage=25000")["CachesDeleted"] is None


@pytest.mark.beyond_dockerd
def test_an_engine_with_bounds_keeps_the_last_of_what_builds_leave(
    new_engine: type[Daemon], archive: Path
) -> None:
    daemon = new_engine()
    policy = [{"all": True, "keepStorage": "25000"}]
    daemon.options.append(
        f"--config-file={configured(daemon, builder={'gc': {'enabled': True, 'policy': policy}})}"
    )
    try:
        daemon.start()
        daemon.docker("load", "-i", archive)
        http = Http(daemon.socket)
        for number in range(4):
            build(http, f"FROM busybox\nRUN head -c 10000 /dev/zero >/keep{number}\n")
        until(lambda: len(http.ok("GET", "/system/df")["BuildCache"]) == 2, what="two steps to be left")
        assert build(http, "FROM busybox\nRUN head -c 10000 /dev/zero >/keep3\n").cached == 1
        daemon.forget_images()
    finally:
        daemon.close()


@pytest.mark.parametrize("name", ["../x", "/../x", "a/../../x"])
def test_names_of_a_context_begin_at_its_root(http: Http, name: str) -> None:
    dockerfile = b"FROM busybox\nCOPY x /\nRUN cat /x\n"
    members = [(entry("Dockerfile", mode=0o644), dockerfile), (entry(name, mode=0o644), b"as in a chroot")]
    assert b"as in a chroot" in http("POST", "/build", tarball(members)).body


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_contexts_come_compressed(http: Http, packed: Callable[[bytes], bytes]) -> None:
    plain = context("FROM busybox\nCOPY f /\nRUN cat /f\n", {"f": b"unpacked"})
    answer = http("POST", "/build", packed(plain))
    assert b"unpacked" in answer.body
    assert b"Successfully built" in answer.body


def test_ignored_dockerfiles_are_not_seen_by_copy(http: Http) -> None:
    files = {".dockerignore": b"Dockerfile\n.dockerignore\n", "f": b""}
    built = build(http, "FROM busybox\nCOPY . /c\nRUN ls -A /c\n", "", files)
    assert "\nf\n" in built.text
    assert "Dockerfile\n" not in built.text.split("Running in")[1]


@pytest.mark.beyond_dockerd
def test_squash_makes_one_layer_where_it_is_allowed(archive: Path) -> None:
    engine = Engine()
    engine.options.append(f"--config-file={configured(engine, experimental=True)}")
    try:
        engine.start()
        engine.docker("load", "-i", archive)
        built = build(
            engine.http,
            "FROM busybox\nRUN echo 1 >/a; mkdir /d; echo 2 >/d/old\n"
            "RUN rm -r /a /home /d; mkdir /d; echo 3 >/d/new\n",
            "squash=1&t=one:1",
        )
        assert built.error == ""
        image = engine.docker.inspect("one:1")
        assert len(image["RootFS"]["Layers"]) == 2
        said = engine.docker.run("--rm", "one:1", "sh", "-c", "ls /d; ls -d /a /home 2>&1 | wc -l")
        assert said == "new\n2"
        engine.http.ok("POST", "/build/prune?all=1")
    finally:
        engine.close()


@pytest.mark.beyond_dockerd
def test_a_full_disk_is_told_and_left_as_it_was(archive: Path) -> None:
    daemon = Engine()
    try:
        with small_disk(daemon.data, "40m"):
            daemon.start()
            daemon.docker("load", "-i", archive)
            before = daemon.traces()
            noise = os.urandom(18_000_000)
            http, full = daemon.http, "no space left on device"
            assert full in build(http, "FROM busybox", "", {"a": noise, "b": noise, "c": noise}).error
            assert full in build(http, "FROM busybox\nCOPY . /x\nCOPY . /y\n", "", {"a": noise}).error
            http.ok("POST", "/images/prune")
            filled = build(http, "FROM busybox\nRUN dd if=/dev/zero of=/x bs=1M\n", "forcerm=1")
            assert "No space left on device" in filled.text
            assert filled.messages[-1]["errorDetail"]["code"] == 1
            http.ok("POST", "/build/prune?all=1")
            assert build(http, "FROM busybox\nRUN echo works\n", "t=works:1").error == ""
            daemon.forget_images()
            http.ok("POST", "/build/prune?all=1")
            assert lasting(daemon, before) == []
            daemon.stop()
    finally:
        daemon.close()
