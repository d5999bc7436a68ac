"""The processes of a container, as the host's ps(1) shows them. Source: daemon/top_unix.go of moby 20.10."""

import asyncio
import re
from collections.abc import Collection

from lighterman.apitypes.container import ContainerTopResponse
from lighterman.containers.errors import NotRunning
from lighterman.containers.life import Restarting
from lighterman.containers.state import Containers
from lighterman.errdefs import Conflict, InvalidParameter, System
from lighterman.runtime import ProcessGone


async def top(cs: Containers, ref: str, *, ps_args: str = "") -> ContainerTopResponse:
    """The lines of `ps` that are of the container. Raises: NoSuchContainer, Conflict, InvalidParameter."""
    args = check_ps_args(ps_args or "-ef")
    container = cs.find(ref)
    if isinstance(container.life, Restarting):
        raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
    try:
        pids = cs.runtime.pids(container.id) if container.runs else []
    except ProcessGone:
        pids = []
    if not pids:
        raise NotRunning(container.id)
    code, output, _ = await _ps(*args, f"-q{','.join(map(str, pids))}")
    if code != 0:  # some options, f for one, cannot be used with q
        code, output, errors = await _ps(*args)
        if code != 0:
            raise System(f"ps: {errors.partition(chr(10))[0] or f'exit status {code}'}")
    answer = parse_ps(output, pids)
    cs.publish(container, "top")
    return answer


def check_ps_args(text: str) -> list[str]:
    """The arguments of ps. Raises InvalidParameter for a column that is named PID and is none."""
    for key, value in re.findall(r"\s+(\S*)=\s*(PID\S*)", text):
        if key != "pid":
            raise InvalidParameter(f'specifying "{key}={value}" is not allowed')
    return text.split(" ")


def parse_ps(output: str, pids: Collection[int]) -> ContainerTopResponse:
    """The titles, and the rows whose PID is one of `pids`; rows of threads ("-") follow their process.

    Raises: InvalidParameter when there is no PID column.
    """
    header, *lines = output.split("\n")
    titles = header.split()
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    at, last = titles.index("PID"), len(titles) - 1
    rows, ours = [], False
    for fields in (line.split() for line in lines if line):
        if fields[at] != "-":
            ours = int(fields[at]) in pids
        if ours:
            rows.append([*fields[:last], " ".join(fields[last:])])
    return ContainerTopResponse(processes=rows, titles=titles)


async def _ps(*args: str) -> tuple[int, str, str]:
    """(exit code, output, errors). Raises: System when there is no ps."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec("ps", *args, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise System('ps: exec: "ps": executable file not found in $PATH') from error
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")
