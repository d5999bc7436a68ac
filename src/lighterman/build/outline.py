"""The graph of a build: which stages are needed, what each waits for, and the numbers of the steps. Pure.

A stage waits for the stage that it stands on and for those that it copies or mounts from; all of them come
before it in the Dockerfile, so there are no circles. What the wanted stage does not need is left out.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from lighterman.apitypes.registry import Platform
from lighterman.build.dockerfile import BuildArguments
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import Copy, Dockerfile, From, Instruction, Run, Stage, expand, request_label
from lighterman.registry import format_platform


class PlannedStage(Struct, frozen=True):
    """A stage that will be built."""

    place: int
    """In the Dockerfile, from 0: what `--from=0` means."""
    start: From
    image: str
    """What it stands on, variables read, if that is no stage."""
    base: int | None
    """The stage that it stands on."""
    instructions: tuple[Instruction, ...]
    first_step: int
    """The number of its FROM."""
    needs: frozenset[int]


class Outline(Struct, frozen=True):
    """A whole build."""

    arguments: tuple[Instruction, ...]
    """Steps before the first stage."""
    known: BuildArguments
    """What every stage begins with."""
    stages: tuple[PlannedStage, ...]
    """Those that are needed, in their order; the last one is what was asked for."""
    steps: int
    escape: str
    names: Mapping[str, int]
    """The places of all stages with names."""


def platform_arguments(builder: Platform, target: Platform) -> dict[str, str]:
    """The arguments that tell what a build runs on and what it is for. Source: BuildKit's of these names."""
    return {
        f"{which}{what}": value
        for which, platform in (("BUILD", builder), ("TARGET", target))
        for what, value in (
            ("PLATFORM", format_platform(platform)),
            ("OS", platform.os),
            ("ARCH", platform.architecture),
            ("VARIANT", platform.variant),
        )
    }


def outline(
    dockerfile: Dockerfile,
    given: Mapping[str, str | None],
    labels: Mapping[str, str],
    target: str,
    platforms: Mapping[str, str] | None = None,
) -> Outline:
    """The build of the stage `target` ("": the last), which gets the labels. Raises: InvalidParameter.

    `platforms` are arguments that every FROM knows, and stages that name them.
    """
    escape, known = dockerfile.escape, BuildArguments(dict(given), of_file=dict(platforms or {}))
    for arg in dockerfile.arguments:
        read = tuple(
            (
                expand(name, known.known(), escape),
                None if value is None else expand(value, known.known(), escape),
            )
            for name, value in arg.arguments
        )
        known = known.declared_globally(replace(arg, arguments=read))
    names = _names(dockerfile.stages)
    last = _target(dockerfile.stages, names, target)
    added = tuple(request_label(name, labels[name]) for name in sorted(labels))
    drawn: list[PlannedStage] = []
    for place, stage in enumerate(dockerfile.stages[: last + 1]):
        instructions = (*stage.instructions, *added) if place == last else stage.instructions
        drawn.append(_drawn(place, stage.start, instructions, known, names, escape))
    needed = _needed(drawn, last)
    number = len(dockerfile.arguments) + 1
    stages: list[PlannedStage] = []
    for stage_drawn in drawn:
        if stage_drawn.place in needed:
            stages.append(replace(stage_drawn, first_step=number))
            number += 1 + len(stage_drawn.instructions)
    return Outline(dockerfile.arguments, known, tuple(stages), number - 1, escape, names)


def _names(stages: Sequence[Stage]) -> dict[str, int]:
    names: dict[str, int] = {}
    for place, stage in enumerate(stages):
        if stage.start.name in names:
            raise InvalidParameter(f"{stage.start.name} stage name already used")
        if stage.start.name:
            names[stage.start.name] = place
    return names


def _target(stages: Sequence[Stage], names: Mapping[str, int], target: str) -> int:
    if not target:
        return len(stages) - 1
    place = names.get(target.lower())
    if place is None and target.isdecimal() and int(target) < len(stages):
        place = int(target)
    if place is None:
        raise InvalidParameter(f"failed to reach build target {target} in Dockerfile")
    return place


def _drawn(
    place: int,
    start: From,
    instructions: tuple[Instruction, ...],
    known: BuildArguments,
    names: Mapping[str, int],
    escape: str,
) -> PlannedStage:
    image = expand(start.image, known.for_from(), escape)
    if not image:
        raise InvalidParameter(f"base name ({start.image}) should not be blank")
    base = names.get(image.lower())
    if base is not None and base >= place:
        base = None
    needs = {base} if base is not None else set()
    for source in _sources(instructions):
        if (needed := stage_meant(source, place, names)) is not None:
            needs.add(needed)
    return PlannedStage(place, start, image, base, instructions, 0, frozenset(needs))


def _sources(instructions: Sequence[Instruction]) -> Iterator[str]:
    for instruction in instructions:
        if isinstance(instruction, Copy) and instruction.source_from:
            yield instruction.source_from
        elif isinstance(instruction, Run):
            yield from (mount.source_from for mount in instruction.mounts if mount.source_from)


def stage_meant(source: str, place: int, names: Mapping[str, int]) -> int | None:
    """The stage that `--from` means in the stage at `place`; None: it means an image.

    Raises: InvalidParameter.
    """
    found = names.get(source.lower())
    if found is not None and found < place:
        return found
    try:
        number = int(source)
    except ValueError:
        return None
    if number == place:
        raise InvalidParameter(f"invalid from flag value {source}: refers to current build stage")
    if not 0 <= number < place:
        raise InvalidParameter(f"invalid from flag value {source}: index out of bounds")
    return number


def _needed(stages: Sequence[PlannedStage], last: int) -> set[int]:
    needed: set[int] = set()
    left = [last]
    while left:
        place = left.pop()
        if place not in needed:
            needed.add(place)
            left += stages[place].needs
    return needed
