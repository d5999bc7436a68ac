"""Builds: many small steps, the same from the cache, a large context, and stages that need not wait."""

import io
import random
import tarfile
import time

from msgspec.structs import replace

from benchmarks.rows import Bench, Numbers, timed

STEPS = 20
CONTEXT_FILES = 20_000
FILE_BYTES = 10_000
STAGE_S = 1
LONGEST_S = 600


def builds(bench: Bench) -> Numbers:
    """Each engine builds the same; what is new in each round is in the first step."""
    numbers: dict[str, float] = {}
    chance = time.time_ns()
    steps = "".join(f"RUN echo {chance} {number} >/f{number}\n" for number in range(STEPS))
    small = _context(f"FROM busybox\n{steps}")
    with timed(numbers, f"build {STEPS} steps"):
        _build(bench, small)
    with timed(numbers, f"build {STEPS} steps again"):
        _build(bench, small)
    large = _context(f"FROM busybox\nLABEL round={chance}\nCOPY . /context\n", CONTEXT_FILES)
    with timed(numbers, "build of 200 MB in 20,000 files"):
        _build(bench, large)
    names = ("one", "two", "three")
    stages = "".join(
        f"FROM busybox AS {name}\nRUN sleep {STAGE_S}; echo {chance} >/{name}\n" for name in names
    )
    copies = "".join(f"COPY --from={name} /{name} /\n" for name in names)
    with timed(numbers, f"build of three stages of {STAGE_S} s"):
        _build(bench, _context(f"{stages}FROM busybox\n{copies}"))
    bench.engine.http("POST", "/images/prune")
    bench.engine.http("POST", "/build/prune?all=1")
    return numbers


def _build(bench: Bench, context: bytes) -> None:
    # on a connection of its own: the kept one is given up by an engine that hears nothing for so long
    told = replace(bench.engine.http, timeout_s=LONGEST_S)("POST", "/build", context).body
    assert b"Successfully built" in told, told[-300:]


def _context(dockerfile: str, files: int = 0) -> bytes:
    """A Dockerfile, and files beside it whose content half compresses."""
    out, chance = io.BytesIO(), random.Random(1)
    with tarfile.open(fileobj=out, mode="w") as tar:
        members = [("Dockerfile", dockerfile.encode())]
        members += [
            (f"d{number // 200}/{number}", chance.randbytes(FILE_BYTES // 2) + bytes(FILE_BYTES // 2))
            for number in range(files)
        ]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
