"""One engine for all tests of this folder; each test leaves it empty, the last leaves the host clean."""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.support.cli import DockerCLI
from tests.support.engines import Daemon, Engine, Reference
from tests.support.http import Http
from tests.support.images import BUSYBOX, saved
from tests.support.registry import Registry
from tests.support.waiting import TooLate, until

HERE = Path(__file__).parent
LONGEST_TEST_S = 150


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = config.getoption("--engine") == "ours"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="containers need root"))
            elif not ours and item.get_closest_marker("beyond_dockerd"):
                item.add_marker(pytest.mark.skip(reason="dockerd promises less"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "beyond_dockerd: a promise that dockerd does not make")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    engine = getattr(item, "funcargs", {}).get("engine")
    if report.failed and isinstance(engine, Daemon):
        report.sections.append(("log of the engine", engine.log[-6000:]))
    return report


@pytest.fixture(autouse=True)
def an_end() -> Iterator[None]:
    """A test that waits for what never comes fails instead of holding up the others."""

    def give_up(*_: object) -> None:
        raise TooLate(f"the test took more than {LONGEST_TEST_S} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_TEST_S, 5)  # once more: clean-up can wait for ever too
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """busybox as `docker save` writes it."""
    path = tmp_path_factory.mktemp("images") / "busybox.tar"
    path.write_bytes(saved([BUSYBOX]))
    return path


@pytest.fixture(scope="session")
def new_engine(request: pytest.FixtureRequest) -> type[Daemon]:
    """The class of the engine under test, for tests that need one of their own."""
    return Engine if request.config.getoption("--engine") == "ours" else Reference


@pytest.fixture(scope="session")
def the_engine(new_engine: type[Daemon], archive: Path) -> Iterator[Daemon]:
    daemon = new_engine()
    try:
        daemon.start()
        daemon.docker("load", "-i", archive)
        daemon.docker.run("--rm", "-v", "warm:/warm", "busybox", "true")  # what is made once and kept
        daemon.clean()
        before = daemon.traces()
        yield daemon
        if not daemon.process:
            daemon.start()
        daemon.forget_images()
        left: list[str] = []
        if isinstance(daemon, Engine):
            left = lasting(daemon, before)
            stopped = daemon.stop()
            assert stopped == 0, f"a stopped engine exits with 0, not {stopped}\n{daemon.log[-3000:]}"
            left += [line for line in daemon.traces().beyond(before) if line.startswith("proc")]
    finally:
        daemon.close()
    assert not left, "left over:\n" + "\n".join(left)


def lasting(daemon: Daemon, before: object) -> list[str]:
    """What is left beyond `before` once the engine has had time for its work in the background."""
    try:
        until(lambda: not daemon.traces().beyond(before), what="clean", timeout_s=20)  # type: ignore[arg-type]
    except TooLate:
        return daemon.traces().beyond(before)  # type: ignore[arg-type]
    return []


@pytest.fixture
def engine(the_engine: Daemon) -> Iterator[Daemon]:
    """The engine, alive, without containers and volumes before and after the test."""
    if not the_engine.process:
        the_engine.start()
    yield the_engine
    if not the_engine.process:
        the_engine.start()
    the_engine.clean()


@pytest.fixture
def docker(engine: Daemon) -> DockerCLI:
    return engine.docker


@pytest.fixture
def http(engine: Daemon) -> Http:
    return engine.http


@pytest.fixture(scope="session")
def registry(
    the_engine: Daemon, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """A registry beside the engine."""
    registry = Registry(the_engine.net, tmp_path_factory.mktemp("registry"))
    yield registry
    registry.close()
