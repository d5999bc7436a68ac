"""The graph of a build: what is needed, what waits for what, and how the steps are counted."""

import pytest

from lighterman.apitypes.registry import Platform
from lighterman.build.outline import Outline, outline, platform_arguments, stage_meant
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import Arg, Label, parse

STAGES = """
ARG V=1
FROM busybox AS one
RUN a
FROM busybox AS unneeded
RUN b
FROM busybox:$V AS two
COPY --from=0 /a /b
FROM two
RUN --mount=type=bind,from=one,target=/x c
"""


def drawn(text: str, *, target: str = "", labels: dict[str, str] | None = None) -> Outline:
    return outline(parse(text.encode()), {}, labels or {}, target)


def test_what_nobody_needs_is_left_out_and_not_counted() -> None:
    plan = drawn(STAGES)
    assert [stage.place for stage in plan.stages] == [0, 2, 3]
    assert [stage.first_step for stage in plan.stages] == [2, 4, 6]
    assert plan.steps == 7


def test_a_stage_waits_for_what_it_stands_on_copies_from_and_mounts() -> None:
    plan = drawn(STAGES)
    assert {stage.place: stage.needs for stage in plan.stages} == {0: set(), 2: {0}, 3: {0, 2}}
    assert plan.stages[-1].base == 2
    assert plan.stages[1].image == "busybox:1"


@pytest.mark.parametrize(("target", "places"), [("one", [0]), ("ONE", [0]), ("1", [1]), ("two", [0, 2])])
def test_a_target_ends_the_build(target: str, places: list[int]) -> None:
    assert [stage.place for stage in drawn(STAGES, target=target).stages] == places


def test_labels_of_the_request_are_steps_of_the_last_stage() -> None:
    plan = drawn("FROM a AS x\nFROM b", labels={"z": "1", "a": "$x"}, target="x")
    (stage,) = plan.stages
    assert [each.original for each in stage.instructions] == ["LABEL a=$x", "LABEL z=1"]
    assert all(isinstance(each, Label) and each.literal for each in stage.instructions)


def test_a_name_that_comes_later_is_an_image() -> None:
    plan = drawn("FROM later AS first\nFROM busybox AS later\nFROM first")
    assert plan.stages[0].base is None
    assert plan.stages[0].image == "later"


def test_a_from_knows_the_arguments_before_it_and_no_others() -> None:
    plan = outline(parse(b"ARG A=x\nFROM $A-$B"), {"A": "given", "B": "unknown"}, {}, "")
    assert plan.stages[0].image == "given-"


def test_platforms_are_known_to_from_and_to_who_names_them() -> None:
    here, there = Platform("amd64", "linux"), Platform("arm64", "linux", "v8")
    known = platform_arguments(here, there)
    assert (known["BUILDPLATFORM"], known["TARGETPLATFORM"]) == ("linux/amd64", "linux/arm64/v8")
    plan = outline(parse(b"FROM x-$TARGETARCH"), {}, {}, "", known)
    assert plan.stages[0].image == "x-arm64"
    stage = plan.known.at_stage()
    assert "TARGETOS" not in stage.known()
    assert stage.declared(Arg(line=1, original="", arguments=(("TARGETOS", None),))).known() == {
        "TARGETOS": "linux"
    }


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        ("FROM a AS x\nFROM b AS x", "", "x stage name already used"),
        ("FROM a", "nope", "failed to reach build target nope in Dockerfile"),
        ("FROM a", "1", "failed to reach build target 1 in Dockerfile"),
        ("FROM $X", "", "base name ($X) should not be blank"),
        ("FROM a\nCOPY --from=0 x y", "", "invalid from flag value 0: refers to current build stage"),
        ("FROM a\nCOPY --from=7 x y", "", "invalid from flag value 7: index out of bounds"),
        ("FROM a\nCOPY --from=-1 x y", "", "invalid from flag value -1: index out of bounds"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_happens(text: str, target: str, words: str) -> None:
    with pytest.raises(InvalidParameter) as raised:
        drawn(text, target=target)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("source", "place", "meant"),
    [("a", 1, 0), ("A", 1, 0), ("0", 1, 0), ("a", 0, None), ("busybox", 1, None), ("1.2", 2, None)],
)
def test_a_source_is_a_stage_before_or_an_image(source: str, place: int, meant: int | None) -> None:
    assert stage_meant(source, place, {"a": 0}) == meant
