"""A life moves along its table and nowhere else."""

import itertools

import pytest

from lighterman.containers.life import (
    Condemned,
    Created,
    Creating,
    Ended,
    Event,
    Exited,
    Froze,
    GaveUp,
    ImpossibleStep,
    Life,
    Made,
    Paused,
    Removing,
    Restarting,
    Running,
    Started,
    StartRefused,
    Thawed,
    exit_code,
    status,
    step,
)

RAN = (5, False, 10, 20)
MOVES: list[tuple[Life, Event, Life]] = [
    (Creating(), Made(), Created()),
    (Creating(), Condemned(), Removing(Created())),
    (Created(), Started(7, 10), Running(7, 10)),
    (Created(127, "no such file"), Started(7, 10), Running(7, 10)),
    (Created(), StartRefused(127, "no such file"), Created(127, "no such file")),
    (Created(), Condemned(("v",)), Removing(Created(), ("v",))),
    (Running(7, 10), Froze(), Paused(7, 10)),
    (Running(7, 10), Froze(for_now=True), Paused(7, 10, for_now=True)),
    (Paused(7, 10, for_now=True), Thawed(), Running(7, 10)),
    (Running(7, 10), Ended(5, False, 20), Exited(*RAN)),
    (Running(7, 10), Ended(5, False, 20, again=True), Restarting(*RAN)),
    (Running(7, 10), Ended(137, True, 20), Exited(137, True, 10, 20)),
    (Running(7, 10), Ended(137, False, 20, error="a guess"), Exited(137, False, 10, 20, "a guess")),
    (Paused(7, 10), Thawed(), Running(7, 10)),
    (Paused(7, 10), Ended(137, False, 20), Exited(137, False, 10, 20)),
    (Paused(7, 10), Ended(5, False, 20, again=True), Restarting(*RAN)),
    (Exited(*RAN), Started(8, 30), Running(8, 30)),
    (Exited(*RAN), StartRefused(128, "no network"), Exited(128, False, 10, 20, "no network")),
    (Exited(*RAN), Condemned(), Removing(Exited(*RAN))),
    (Restarting(*RAN), Started(8, 30), Running(8, 30)),
    (Restarting(*RAN), StartRefused(128, "no network"), Exited(128, False, 10, 20, "no network")),
    (Restarting(*RAN), GaveUp(), Exited(*RAN)),
]
LIVES: list[Life] = [
    Creating(), Created(), Running(7, 10), Paused(7, 10), Exited(*RAN), Restarting(*RAN), Removing(Created()),
]  # fmt: skip
EVENTS: list[Event] = [
    Made(), Started(7, 10), StartRefused(128, "x"), Froze(), Thawed(), Ended(0, False, 20), GaveUp(),
    Condemned(),
]  # fmt: skip
KNOWN = {(type(life), type(event)) for life, event, _ in MOVES}


@pytest.mark.parametrize(("life", "event", "after"), MOVES)
def test_a_life_moves_along_the_table(life: Life, event: Event, after: Life) -> None:
    assert step(life, event) == after


@pytest.mark.parametrize(
    ("life", "event"),
    [pair for pair in itertools.product(LIVES, EVENTS) if (type(pair[0]), type(pair[1])) not in KNOWN],
)
def test_every_other_move_is_impossible(life: Life, event: Event) -> None:
    with pytest.raises(ImpossibleStep):
        step(life, event)


@pytest.mark.parametrize(
    ("life", "word", "code"),
    [
        (Creating(), "created", 0),
        (Created(127, "x"), "created", 127),
        (Running(7, 10), "running", 0),
        (Paused(7, 10), "paused", 0),
        (Exited(*RAN), "exited", 5),
        (Restarting(*RAN), "restarting", 5),
        (Removing(Exited(*RAN)), "removing", 5),
    ],
)
def test_a_life_is_told_in_the_words_of_the_api(life: Life, word: str, code: int) -> None:
    assert (status(life), exit_code(life)) == (word, code)
