"""Names, signals, restart policies, durations: the small rules of this room."""

import re
from random import Random

import pytest
from tests.containers.values import container

from lighterman.apitypes.container import RestartPolicy
from lighterman.containers.ago import DAY, HOUR, MINUTE, human_duration
from lighterman.containers.ending import stop_timeout_s
from lighterman.containers.names import check_name, made_up_name
from lighterman.containers.restart_policy import restart_delay_s
from lighterman.containers.signals import is_known, parse_signal
from lighterman.errdefs import InvalidParameter


@pytest.mark.parametrize("name", ["-bad", "a", "a b", "", "/", "ü1", "a/b", "//ab"])
def test_a_name_that_docker_refuses_is_refused_in_its_words(name: str) -> None:
    text = re.escape(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    with pytest.raises(InvalidParameter, match=text):
        check_name(name)


@pytest.mark.parametrize(("name", "kept"), [("ab", "ab"), ("/ab", "ab"), ("A_b.c-9", "A_b.c-9")])
def test_a_name_is_kept_without_its_slash(name: str, kept: str) -> None:
    assert check_name(name) == kept


def test_a_made_up_name_is_a_name_and_is_free() -> None:
    taken: set[str] = set()
    chance = Random(1)
    for _ in range(300):
        name = made_up_name(taken, chance)
        assert name not in taken
        assert re.fullmatch("[a-z]+_[a-z]+", check_name(name))
        taken.add(name)


def test_a_made_up_name_gets_a_digit_when_all_words_are_taken() -> None:
    class AllWords:
        def __contains__(self, name: object) -> bool:
            return not str(name)[-1].isdigit()

    assert re.fullmatch(r"[a-z]+_[a-z]+\d", made_up_name(AllWords(), Random(1)))


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("15", 15), ("RTMIN+3", 37), ("SIGRTMAX", 64), ("99", 99)],
)
def test_signals_are_read_by_name_and_by_number(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["FOO", "0", "-1", "SIG", "9x"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=f"Invalid signal: {text}"):
        parse_signal(text)


def test_the_kernel_knows_sixty_four_signals() -> None:
    assert is_known(1)
    assert is_known(64)
    assert not is_known(99)


ON_FAILURE, TWICE = RestartPolicy("on-failure"), RestartPolicy("on-failure", 2)


@pytest.mark.parametrize(
    ("policy", "code", "tries", "ran_s", "last_s", "delay_s"),
    [
        (RestartPolicy(), 1, 0, 1, 0.0, None),
        (RestartPolicy("no"), 1, 0, 1, 0.0, None),
        (RestartPolicy("always"), 0, 99, 1, 0.0, 0.1),
        (RestartPolicy("unless-stopped"), 0, 0, 1, 0.1, 0.2),
        (ON_FAILURE, 0, 0, 1, 0.0, None),
        (ON_FAILURE, 3, 99, 1, 0.2, 0.4),
        (TWICE, 3, 1, 1, 0.1, 0.2),
        (TWICE, 3, 2, 1, 0.2, None),
        (ON_FAILURE, 3, 5, 1, 51.2, 60.0),
        (ON_FAILURE, 3, 5, 10, 51.2, 0.1),
    ],
)
def test_a_policy_answers_with_a_delay_or_with_rest(
    policy: RestartPolicy, code: int, tries: int, ran_s: float, last_s: float, delay_s: float | None
) -> None:
    assert restart_delay_s(policy, code, tries, ran_s, last_s) == delay_s


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (MINUTE, "About a minute"),
        (3 * MINUTE, "3 minutes"),
        (59 * MINUTE + 59, "59 minutes"),
        (HOUR, "About an hour"),
        (90 * MINUTE, "2 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ],
)
def test_durations_are_told_as_docker_does(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("asked_s", "own_s", "patience_s"),
    [(None, None, 20.0), (None, 3, 3.0), (0, 3, 0.0), (-1, 3, None), (None, -1, None), (5, None, 5.0)],
)
def test_a_stop_waits_as_asked_or_as_the_container_or_the_engine_has_it(
    asked_s: int | None, own_s: int | None, patience_s: float | None
) -> None:
    assert stop_timeout_s(container(stop_timeout=own_s), asked_s, default_s=20) == patience_s
