"""A task on its way, with work of the test's own."""

import asyncio
from collections.abc import Awaitable, Callable

from lighterman.apitypes.service import ContainerStatus, PortConfig, TaskSpec, TaskStatus
from lighterman.errdefs import InvalidParameter
from lighterman.swarm.agent.controller import TaskFailed
from lighterman.swarm.agent.runner import Runner, TaskRow
from lighterman.swarm.session import AssignedTask


class Work:
    """Work that ends when the test says so, or at once."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.ended = asyncio.Event()
        self.prepared = asyncio.Event()
        self.prepared.set()
        self.problem: Exception | None = None

    async def prepare(self) -> None:
        self.done.append("prepare")
        await self.prepared.wait()
        if self.problem:
            raise self.problem

    async def start(self) -> None:
        self.done.append("start")

    async def wait(self) -> None:
        self.done.append("wait")
        await self.ended.wait()
        if self.problem:
            raise self.problem

    async def shut_down(self) -> None:
        self.done.append("shut_down")

    async def remove(self) -> None:
        self.done.append("remove")

    def container_status(self) -> ContainerStatus:
        return ContainerStatus("c1", 7)

    def ports(self) -> list[PortConfig]:
        return []


def task(desired: str = "running") -> AssignedTask:
    return AssignedTask("t1", desired, TaskSpec())


class Course:
    """A runner, its work and the states that it told."""

    def __init__(self, work: Callable[[AssignedTask], Work] | None = None, state: str = "assigned") -> None:
        self.work = Work()
        self.told: list[TaskStatus] = []
        self._more = asyncio.Event()
        row = TaskRow(task(), TaskStatus(timestamp="", state=state))
        self.runner = Runner(row, work or (lambda _: self.work), self._tell)

    async def _tell(self, row: TaskRow) -> None:
        self.told.append(row.status)
        self._more.set()

    async def until(self, state: str) -> TaskStatus:
        while not self.told or self.told[-1].state != state:
            self._more.clear()
            await self._more.wait()
        return self.told[-1]

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.told]


def follow(course: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await course()

    asyncio.run(limited())


def test_every_state_is_told_in_order() -> None:
    async def course() -> None:
        it = Course()
        life = asyncio.create_task(it.runner.run())
        status = await it.until("running")
        assert it.states == ["accepted", "preparing", "ready", "starting", "running"]
        assert status.container_status == ContainerStatus("c1", 7)
        it.work.ended.set()
        assert (await it.until("complete")).message == "finished"
        life.cancel()

    follow(course)


def test_a_failure_tells_its_text_and_code() -> None:
    async def course() -> None:
        it = Course()
        life = asyncio.create_task(it.runner.run())
        await it.until("running")
        it.work.problem = TaskFailed("task: non-zero exit (3)", 3)
        it.work.ended.set()
        status = await it.until("failed")
        assert (status.err, status.message) == ("task: non-zero exit (3)", "started")
        assert status.container_status is not None
        assert status.container_status.exit_code == 3
        life.cancel()

    follow(course)


def test_what_cannot_be_prepared_is_rejected() -> None:
    async def course() -> None:
        it = Course()
        it.work.problem = InvalidParameter("No such image: x")
        life = asyncio.create_task(it.runner.run())
        status = await it.until("rejected")
        assert (status.err, status.message) == ("No such image: x", "preparing")
        life.cancel()

    follow(course)


def test_a_task_that_no_work_can_be_found_for_is_rejected() -> None:
    def refuse(_: AssignedTask) -> Work:
        raise InvalidParameter("dockerexec: image required")

    async def course() -> None:
        it = Course(refuse)
        life = asyncio.create_task(it.runner.run())
        assert (await it.until("rejected")).err == "dockerexec: image required"
        life.cancel()

    follow(course)


def test_a_shutdown_interrupts_what_goes_on() -> None:
    async def course() -> None:
        it = Course()
        it.work.prepared.clear()
        life = asyncio.create_task(it.runner.run())
        await it.until("preparing")
        await asyncio.sleep(0)
        it.runner.update(task("shutdown"))
        await it.until("shutdown")
        assert it.work.done == ["prepare", "shut_down"]
        life.cancel()

    follow(course)


def test_a_wish_that_changes_nothing_of_what_goes_on_does_not_interrupt_it() -> None:
    async def course() -> None:
        it = Course()
        it.runner.row = TaskRow(task("ready"), it.runner.row.status)
        it.work.prepared.clear()
        life = asyncio.create_task(it.runner.run())
        await it.until("preparing")
        await asyncio.sleep(0)
        it.runner.update(task("running"))
        await asyncio.sleep(0)
        it.work.prepared.set()
        await it.until("running")
        assert it.work.done.count("prepare") == 1
        life.cancel()

    follow(course)


def test_a_wish_never_goes_back() -> None:
    async def course() -> None:
        it = Course()
        it.runner.update(task("shutdown"))
        it.runner.update(task("running"))
        assert it.runner.task.desired_state == "shutdown"

    follow(course)


def test_a_running_task_is_taken_up_without_a_start() -> None:
    async def course() -> None:
        it = Course(state="running")
        life = asyncio.create_task(it.runner.run())
        it.work.ended.set()
        await it.until("complete")
        assert it.work.done == ["wait"]
        life.cancel()

    follow(course)
