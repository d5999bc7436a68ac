"""What is kept of output: all that somebody lacks, once, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from lighterman.runtime.backlog import PIECE_OVERHEAD_BYTES, Backlog


def test_without_readers_nothing_is_kept() -> None:
    backlog = Backlog()
    backlog.append(1, b"lost")
    assert (backlog.end, backlog.size_bytes) == (0, 0)


def test_a_reader_gets_what_comes_after_it() -> None:
    backlog = Backlog()
    first = backlog.join()
    backlog.append(1, b"a")
    second = backlog.join()
    backlog.append(2, b"b")
    assert [backlog[place] for place in range(first, backlog.end)] == [(1, b"a"), (2, b"b")]
    assert [backlog[place] for place in range(second, backlog.end)] == [(2, b"b")]


def test_the_size_is_what_the_slowest_lacks() -> None:
    backlog = Backlog()
    slow, quick = backlog.join(), backlog.join()
    for _ in range(10):
        backlog.append(1, b"12345")
        quick = backlog.move(quick, backlog.end)
    assert backlog.size_bytes == 10 * (5 + PIECE_OVERHEAD_BYTES)
    slow = backlog.move(slow, slow + 4)
    assert backlog.size_bytes == 6 * (5 + PIECE_OVERHEAD_BYTES)
    backlog.leave(slow)
    assert backlog.size_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4))))
def test_whatever_readers_do_each_finds_all_that_it_lacks(steps: list[tuple[int, int]]) -> None:
    backlog, places = Backlog(), {}
    for step, number in steps:
        if step == 0:
            backlog.append(1, b"x%d" % backlog.end)
        elif step == 1 and number not in places:
            places[number] = backlog.join()
        elif step == 2 and number in places:
            places[number] = backlog.move(places[number], min(places[number] + number, backlog.end))
        elif step == 3 and number in places:
            backlog.leave(places.pop(number))
        for place in places.values():
            assert [backlog[at][1] for at in range(place, backlog.end)] == [
                b"x%d" % at for at in range(place, backlog.end)
            ]
        lacked = max((backlog.end - place for place in places.values()), default=0)
        assert (backlog.size_bytes > 0) == (lacked > 0)
