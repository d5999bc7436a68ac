"""How plain containers get their places in networks of the swarm."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lighterman.apitypes.service import NetworkAttachmentSpec, TaskSpec
from lighterman.errdefs import Forbidden, NotFound, System, Unavailable
from lighterman.networks import EndpointWish
from lighterman.swarm.agent.attachments import Attachments, AttachmentWork
from lighterman.swarm.session import (
    AgentFrame,
    AssignedTask,
    Attachment,
    AttachRefused,
    AttachWanted,
    DetachWanted,
)

PLACE = Attachment("net1id", "net1", ("10.0.1.5/24",))
TASK = AssignedTask(
    "t1", "running", TaskSpec(network_attachment_spec=NetworkAttachmentSpec("c1")), attachments=(PLACE,)
)
WISH = EndpointWish("net1", aliases=("alias",))


def follow(course: Callable[[list[AgentFrame], Attachments], Awaitable[None]]) -> None:
    async def limited() -> None:
        said: list[AgentFrame] = []
        async with asyncio.timeout(10):
            await course(said, Attachments(said.append))

    asyncio.run(limited())


def test_a_place_is_asked_for_and_given_with_its_address() -> None:
    async def course(said: list[AgentFrame], attachments: Attachments) -> None:
        asking = asyncio.create_task(attachments.attach("c1", "name", WISH))
        await asyncio.sleep(0)
        wanted = said[0]
        assert isinstance(wanted, AttachWanted)
        assert (wanted.container_id, wanted.target, wanted.aliases) == ("c1", "net1", ("name", "alias"))
        await AttachmentWork(attachments, TASK, lambda: False).start()
        given = await asking
        assert (given.network, given.ipv4) == ("net1id", "10.0.1.5")

    follow(course)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("rpc error: code = PermissionDenied desc = network net1 not manually attachable", Forbidden),
        ("rpc error: code = NotFound desc = network net1 not found", NotFound),
        ("anything else", System),
    ],
)
def test_a_refusal_keeps_its_kind_and_words(error: str, kind: type[Exception]) -> None:
    async def course(said: list[AgentFrame], attachments: Attachments) -> None:
        asking = asyncio.create_task(attachments.attach("c1", "name", WISH))
        await asyncio.sleep(0)
        wanted = said[0]
        assert isinstance(wanted, AttachWanted)
        attachments.refuse(AttachRefused(wanted.request_id, error))
        with pytest.raises(kind, match=r"^Could not attach to network net1: "):
            await asking

    follow(course)


def test_the_place_of_another_container_is_not_taken() -> None:
    async def course(said: list[AgentFrame], attachments: Attachments) -> None:
        asking = asyncio.create_task(attachments.attach("c2", "name", WISH))
        await asyncio.sleep(0)
        attachments.settle(TASK)
        await asyncio.sleep(0)
        assert not asking.done()
        asking.cancel()

    follow(course)


def test_who_leaves_gives_the_place_back_once() -> None:
    async def course(said: list[AgentFrame], attachments: Attachments) -> None:
        gone = attachments.settle(TASK)
        attachments.detach("c1", "another network")
        assert not said
        attachments.detach("c1", "net1id")
        attachments.detach("c1")
        assert said == [DetachWanted("t1")]
        assert gone.is_set()

    follow(course)


def test_a_place_whose_container_is_gone_after_a_start_is_given_back() -> None:
    async def course(said: list[AgentFrame], attachments: Attachments) -> None:
        await AttachmentWork(attachments, TASK, lambda: False).wait()
        assert said == [DetachWanted("t1")]

    follow(course)


def test_without_a_manager_nobody_gets_in() -> None:
    def unheard(frame: AgentFrame) -> None:
        raise Unavailable("no manager")

    async def course() -> None:
        with pytest.raises(Unavailable, match="no manager"):
            await Attachments(unheard).attach("c1", "name", WISH)

    asyncio.run(course())
