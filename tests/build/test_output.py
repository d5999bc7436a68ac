"""What a client reads: in the order of the Dockerfile, whatever the order of the work, and within bounds."""

import asyncio

import pytest

from lighterman.apitypes.image import Progress
from lighterman.build.output import KEPT_MESSAGES, BuildFailed, Output, Tell, messages
from lighterman.errdefs import InvalidParameter


class Reader:
    def __init__(self) -> None:
        self.read: list[str] = []

    async def tell(self, message: Progress) -> None:
        assert isinstance(message.stream, str)
        self.read.append(message.stream)


async def test_parts_are_read_in_their_order_however_they_end() -> None:
    reader = Reader()
    output = Output(reader.tell)
    one, two, three = (output.part() for _ in range(3))
    await three.say("3")
    await two.say("2")
    await three.end()
    await one.say("1")
    assert reader.read == ["1"]
    await two.end()
    await one.say("1")
    await one.end()
    assert reader.read == ["1", "1", "2", "3"]


async def test_the_first_part_is_read_as_it_comes_and_then_the_next() -> None:
    reader = Reader()
    output = Output(reader.tell)
    one, two = output.part(), output.part()
    await two.say("2")
    await one.end()
    await two.say("2 again")
    assert reader.read == ["2", "2 again"]


async def test_what_was_kept_is_told_when_the_build_fails() -> None:
    reader = Reader()
    output = Output(reader.tell)
    one, two = output.part(), output.part()
    await two.say("2")
    await one.say("1")
    await output.end_all()
    assert reader.read == ["1", "2"]


async def test_a_part_that_says_much_waits_for_its_turn() -> None:
    reader = Reader()
    output = Output(reader.tell)
    one, two = output.part(), output.part()

    async def chatter() -> None:
        for number in range(KEPT_MESSAGES * 3):
            await two.say(str(number))

    speaking = asyncio.ensure_future(chatter())
    await asyncio.sleep(0)
    assert not speaking.done()
    assert len(two.kept) == KEPT_MESSAGES
    await one.end()
    await speaking
    assert reader.read == [str(number) for number in range(KEPT_MESSAGES * 3)]


async def test_errors_of_programs_are_red() -> None:
    reader = Reader()
    output = Output(reader.tell)
    await output.part().complain("oh")
    assert reader.read == ["\x1b[91moh\x1b[0m"]


async def test_what_fails_before_the_first_message_raises() -> None:
    async def work(tell: Tell) -> None:
        raise InvalidParameter("no")

    with pytest.raises(InvalidParameter, match="no"):
        await messages(work)


async def test_what_fails_later_is_the_last_message_with_its_code() -> None:
    async def work(tell: Tell) -> None:
        await tell(Progress(stream="a"))
        raise BuildFailed("it broke", 7)

    told = [message async for message in await messages(work)]
    assert told[0].stream == "a"
    assert told[1].error == "it broke"
    assert told[1].error_detail.code == 7  # type: ignore[union-attr]


async def test_a_slow_reader_slows_the_build() -> None:
    said = 0

    async def work(tell: Tell) -> None:
        nonlocal said
        while said < KEPT_MESSAGES * 4:
            await tell(Progress(stream="x"))
            said += 1

    stream = await messages(work)
    for _ in range(10):
        await asyncio.sleep(0)
    assert said <= KEPT_MESSAGES
    assert len([message async for message in stream]) == KEPT_MESSAGES * 4


async def test_who_stops_reading_stops_the_work_and_has_waited_for_its_end() -> None:
    ended = False

    async def work(tell: Tell) -> None:
        nonlocal ended
        try:
            while True:
                await tell(Progress(stream="x"))
        finally:
            await asyncio.sleep(0)
            ended = True

    stream = await messages(work)
    await anext(stream)
    await stream.aclose()
    assert ended
