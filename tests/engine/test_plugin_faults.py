"""What becomes of a wish when the plugin that it needs hangs, dies over it, or answers what makes no sense:
for each interface, and for each step that asks a plugin."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field
from tests.support.engines import Daemon
from tests.support.http import Answer
from tests.support.plugins import HostPlugin
from tests.support.waiting import until

pytestmark = pytest.mark.beyond_dockerd
TIMEOUT_S = 3
"""One test waits for as long, and for all that hang at once."""
Plugins = dict[str, HostPlugin]


class Step(Struct, frozen=True):
    """What a user wants, and the call of a plugin that it takes."""

    call: str
    path: str
    body: dict[str, Any] | None = None
    network: dict[str, Any] = field(default_factory=dict)  # what is there before
    container: dict[str, Any] = field(default_factory=dict)  # likewise
    plugin: str = "faulty"


def starting(call: str, name: str, network: dict[str, Any], **wish: Any) -> Step:
    """The start of a container."""
    wish = {"NetworkMode": name, **wish} if network else wish
    container = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": wish}
    return Step(call, f"/containers/{name}/start", None, network and {"Name": name, **network}, container)


STEPS = [
    Step("VolumeDriver.Create", "/volumes/create", {"Name": "data", "Driver": "faulty"}),
    Step("NetworkDriver.CreateNetwork", "/networks/create", {"Name": "net", "Driver": "faulty"}),
    starting("NetworkDriver.CreateEndpoint", "placed", {"Driver": "faulty"}),
    starting("NetworkDriver.Join", "joined", {"Driver": "faulty"}),
    Step("IpamDriver.RequestPool", "/networks/create", {"Name": "pools", "IPAM": {"Driver": "faulty"}}),
    starting("IpamDriver.RequestAddress", "leased", {"IPAM": {"Driver": "faulty"}}),
    starting("LogDriver.StartLogging", "logged", {}, LogConfig={"Type": "faulty"}),
    Step("AuthZPlugin.AuthZReq", "/volumes/create?by=guarded", {"Name": "guarded"}, plugin="guard"),
]
BY_CALL = {step.call: step for step in STEPS}
WORDS = {
    "crash": "EOF",
    "nonsense": "answered nonsense: ",
    "types": "answered nonsense: ",
    "huge": "the answer has more than 16777216 bytes",
}
FORGETS = "IpamDriver.RequestAddress"
"""A plugin of addresses that has died knows no pools: another try is no use."""
HANGING = [step for step in STEPS if step.call != "NetworkDriver.CreateEndpoint"]  # Join comes behind it


class Outcome(Struct, frozen=True):
    """How it went with the plugin as it was, and then with one that behaves; what was there before and
    between."""

    failed: Answer
    again: Answer
    before: object
    left: object


@pytest.fixture(scope="module")
def plugins(
    new_engine: type[Daemon], tmp_path_factory: pytest.TempPathFactory, archive: Path
) -> Iterator[tuple[Daemon, Plugins]]:
    sockets = tmp_path_factory.mktemp("sockets")
    options = ["--authorization-plugin=guard", f"--plugin-timeout={TIMEOUT_S}"]
    daemon = new_engine(options=[f"--plugin-directory={sockets}", *options])
    both = {name: HostPlugin(sockets, name, daemon.net) for name in ("faulty", "guard")}
    try:
        for plugin in both.values():
            plugin.start()
        daemon.start()
        daemon.docker("load", "-i", archive)
        yield daemon, both
    finally:
        daemon.close()
        for plugin in both.values():
            plugin.kill()


@pytest.fixture
def host(plugins: tuple[Daemon, Plugins]) -> Iterator[Daemon]:
    yield plugins[0]
    heal_and_clean(*plugins)


def heal_and_clean(host: Daemon, plugins: Plugins) -> None:
    for plugin in plugins.values():
        plugin.misbehave({})
        plugin.start()
    host.clean()
    host.http("POST", "/networks/prune")


def made(host: Daemon) -> object:
    """The volumes, networks and running containers that there are."""
    volumes = host.http.ok("GET", "/volumes")["Volumes"] or []
    return (
        [volume["Name"] for volume in volumes],
        sorted(network["Name"] for network in host.http.ok("GET", "/networks")),
        [container["Id"] for container in host.http.ok("GET", "/containers/json")],
    )


def tried(host: Daemon, plugins: Plugins, steps: Sequence[Step], fault: str) -> dict[str, Outcome]:
    """What comes of `steps`, all at once, when each call that they take goes wrong; by call."""
    for step in steps:
        if step.network:
            assert host.http("POST", "/networks/create", step.network).status == 201
        if step.container:
            name = step.path.split("/")[2]
            assert host.http("POST", f"/containers/create?name={name}", step.container).status == 201
    before = made(host)
    for name, plugin in plugins.items():
        wrong = {step.call: fault for step in steps if step.plugin == name}
        (plugin.home / "calls").write_text("")
        plugin.misbehave({**wrong, "when": "guarded" if name == "guard" else ""})
    with ThreadPoolExecutor(len(steps)) as users:
        answers = [users.submit(host.http, "POST", step.path, step.body) for step in steps]
        if fault == "hang":
            for step in steps:
                until(partial(plugins[step.plugin].calls, step.call), what=f"{step.call} to be asked")
            assert host.http("GET", "/_ping").status == 200
    failed = [answer.result() for answer in answers]
    if fault == "crash":
        for step in steps:
            plugins[step.plugin].ended()
    for plugin in plugins.values():
        plugin.misbehave({})
        plugin.start()
    left = made(host)
    return {
        step.call: Outcome(answer, host.http("POST", step.path, step.body), before, left)
        for step, answer in zip(steps, failed, strict=True)
    }


@pytest.fixture(scope="module")
def hung(plugins: tuple[Daemon, Plugins]) -> Iterator[dict[str, Outcome]]:
    """What came of all steps when all their calls hung."""
    yield tried(*plugins, HANGING, "hang")
    heal_and_clean(*plugins)


def check(outcome: Outcome, step: Step, words: str) -> None:
    assert outcome.failed.status == 500, outcome
    told = outcome.failed.json["message"]
    assert words in told
    assert step.call in told
    assert step.plugin in told
    assert outcome.left == outcome.before


@pytest.mark.parametrize("fault", WORDS)
@pytest.mark.parametrize("call", BY_CALL)
def test_a_plugin_that_fails_is_named_and_leaves_nothing_half_made(
    host: Daemon, plugins: tuple[Daemon, Plugins], call: str, fault: str
) -> None:
    outcome = tried(*plugins, [BY_CALL[call]], fault)[call]
    check(outcome, BY_CALL[call], WORDS[fault])
    if (call, fault) != (FORGETS, "crash"):
        assert outcome.again.status in (201, 204)
    assert "Traceback" not in host.log


@pytest.mark.parametrize("call", [step.call for step in HANGING])
def test_a_plugin_that_hangs_is_named_and_holds_up_nobody_else(
    hung: dict[str, Outcome], plugins: tuple[Daemon, Plugins], call: str
) -> None:
    check(hung[call], BY_CALL[call], f"did not answer within {TIMEOUT_S} s)")
    assert hung[call].again.status in (201, 204)
    assert "Traceback" not in plugins[0].log
