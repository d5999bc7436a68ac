"""Logs that a plugin takes: a fifo for each run; the plugin hears of it before the start and after the end.

The monitor's helper writes the fifo (`runtime.drivers.plugin`), so the log goes on without the engine. What a
plugin can read back is read there where no cache is kept.
"""

import os
import posixpath
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from lighterman.apitypes.container import LogConfig
from lighterman.containers.log_facts import LogFacts
from lighterman.containers.log_options import OFFERED
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import EngineError, InvalidParameter, System, Unimplemented
from lighterman.lib.effects import in_thread
from lighterman.lib.go_time import rfc3339_nano
from lighterman.lib.log_records import STREAMS, Record

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import LogDriver

DIRECTORY = "/run/docker/logging"
"""Where the fifos are, as plugins see them."""
ENTRY_MAX_BYTES = 1 << 20

FindLogDriver = Callable[[str], Awaitable["LogDriver"]]


async def check_driver(cs: Containers, driver: str) -> None:
    """Raise InvalidParameter in Docker's words unless the driver is one of ours or a plugin's."""
    if driver not in OFFERED:
        try:
            await cs.log_driver(driver)
        except EngineError as error:
            raise InvalidParameter(f"error looking up logging plugin {driver}: {error}") from error


async def begin(cs: Containers, container: Container, facts: LogFacts, held: ExitStack) -> str:
    """The fifo of this run, which the plugin reads already; "" where no plugin takes the log.

    It is kept open by `held`, until the monitor has it: a plugin may wait for a writer before it answers, and
    takes the last one's going for the end. Raises: System in Docker's words.
    """
    log = container.host_config.log_config
    if log.type in OFFERED:
        return ""
    try:
        driver = await cs.log_driver(log.type)
        path = driver.host_path(_fifo(container))
        held.callback(os.close, await in_thread(_make_fifo, path))
        await driver.start_logging(_fifo(container), info(log.config or {}, facts))
    except (EngineError, OSError) as error:
        raise System(f"failed to initialize logging driver: error creating logger: {error}") from error
    return path


async def end(cs: Containers, container: Container) -> None:
    """Tell the plugin that the run is over; idempotent, and a plugin that fails holds up nobody."""
    log = container.host_config.log_config
    if log.type in OFFERED:
        return
    with suppress(EngineError, OSError):
        driver = await cs.log_driver(log.type)
        path = driver.host_path(_fifo(container))
        if await in_thread(os.path.exists, path):
            await driver.stop_logging(_fifo(container))
            await in_thread(os.unlink, path)


def _fifo(container: Container) -> str:
    return posixpath.join(DIRECTORY, container.id)


def _make_fifo(path: str) -> int:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(path)
    os.mkfifo(path, 0o700)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def info(options: Mapping[str, str], facts: LogFacts) -> dict[str, Any]:
    """A container as log plugins hear of it. Source: Info of moby's daemon/logger."""
    entrypoint, _, rest = facts.command.partition(" ")
    return {
        "Config": dict(options),
        "ContainerID": facts.id,
        "ContainerName": f"/{facts.name}",
        "ContainerEntrypoint": entrypoint,
        "ContainerArgs": rest.split(" ") if rest else [],
        "ContainerImageID": facts.image_id,
        "ContainerImageName": facts.image_name,
        "ContainerCreated": rfc3339_nano(facts.created_ns),
        "ContainerEnv": [f"{name}={value}" for name, value in facts.env.items()],
        "ContainerLabels": dict(facts.labels),
        "LogPath": "",
        "DaemonName": "docker",
    }


# reading


async def reader(cs: Containers, container: Container) -> "LogDriver":
    """The driver that gives back what it has taken. Raises: Unimplemented: it gives none; System."""
    driver = await cs.log_driver(container.host_config.log_config.type)
    if not await driver.reads_logs():
        raise Unimplemented("configured logging driver does not support reading")
    return driver


async def read(
    driver: "LogDriver", log: LogConfig, facts: LogFacts, config: Mapping[str, Any]
) -> AsyncIterator[list[Record]]:
    """What the plugin has kept. Raises: System."""
    try:
        async with driver.read_logs(info(log.config or {}, facts), config) as pieces:
            rest = b""
            async for piece in pieces:
                rest += piece
                found, rest = split(rest)
                if found:
                    yield found
    except ValueError as error:
        raise System(f"error decoding log message: {error}") from error


def split(data: bytes) -> tuple[list[Record], bytes]:
    """The whole entries at the beginning of `data`, and what is left. Raises: ValueError: no entries."""
    found, at = [], 0
    while len(data) >= at + 4:
        size = int.from_bytes(data[at : at + 4], "big")
        if size > ENTRY_MAX_BYTES:
            raise ValueError(f"an entry of {size} bytes")
        if len(data) < at + 4 + size:
            break
        found.append(_record(data[at + 4 : at + 4 + size]))
        at += 4 + size
    return found, data[at:]


def _record(message: bytes) -> Record:
    fields = dict(_fields(message))
    source, line = fields.get(1, b""), fields.get(3, b"")
    if not isinstance(source, bytes) or not isinstance(line, bytes):
        raise ValueError("a field of another type")
    stream = STREAMS.index("stderr" if source == b"stderr" else "stdout")
    instant = fields.get(2, 0)
    newline = b"" if fields.get(4) else b"\n"
    return Record(stream, instant if isinstance(instant, int) else time.time_ns(), line + newline)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message by number. Raises: ValueError."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag & 7 == 0:
            yield tag >> 3, value
        elif tag & 7 == 2 and at + value <= len(message):
            yield tag >> 3, message[at : at + value]
            at += value
        else:
            raise ValueError(f"a field of wire type {tag & 7}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")
