"""Logs: what a container has written, and with `follow` what it writes from now on."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from msgspec import Struct

from lighterman.containers import log_plugins
from lighterman.containers.log_facts import LogFacts, facts_of
from lighterman.containers.log_forms import BLOCK_BYTES, FORMS
from lighterman.containers.log_options import OFFERED, kept_file, log_attributes, places_in
from lighterman.containers.log_reader import LogReader
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.lib.effects import in_thread
from lighterman.lib.frames import STDERR, STDOUT, header
from lighterman.lib.go_time import parse_timestamp, rfc3339_nano
from lighterman.lib.json_log import Line, decode_lines
from lighterman.lib.log_records import STREAMS, Record, records
from lighterman.linux import inotify

if TYPE_CHECKING:
    from lighterman.plugins.interfaces import LogDriver

_CHANGES = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO


class LogOptions(Struct, frozen=True):
    """What a client asks for."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since: str = ""  # as the client wrote it: seconds, RFC 3339 or a duration
    until: str = ""
    tail: str = "all"
    framed: bool = True  # in frames, unless it has a terminal
    each_framed: bool = False  # one frame for each entry, with a terminal too: for who takes them apart


class Selection(Struct, frozen=True):
    """`LogOptions`, understood. Instants are RFC3339Nano without the Z, which compare as texts."""

    streams: frozenset[str]
    framed: bool
    timestamps: bool
    details: bool
    since: str
    until: str
    tail: int | None

    def has(self, instant: str) -> bool:
        """Whether what was written then is wished."""
        return instant >= self.since and not (self.until and instant > self.until)


async def logs(cs: Containers, ref: str, options: LogOptions) -> AsyncIterator[bytes]:
    """What the container wrote, in 8-byte frames unless it has a terminal.

    Raises, before the first of it is asked for: NoSuchContainer, InvalidParameter, Unimplemented, System.
    Source: ContainerLogs.
    """
    if not (options.stdout or options.stderr):
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    container = cs.find(ref)
    kept = kept_log(cs, container)
    framed = options.each_framed or (options.framed and not container.config.tty)
    wished = select(options, framed=framed, now_ns=time.time_ns())
    follow = options.follow and container.runs
    if kept is None:
        if container.host_config.log_config.type in OFFERED:
            raise Unimplemented("configured logging driver does not support reading")
        driver = await log_plugins.reader(cs, container)
        return _read_plugin(cs, container, driver, wished, follow=follow)
    return _follow(cs, container, kept, wished) if follow else _read(kept, wished)


async def _read_plugin(
    cs: Containers, container: Container, driver: "LogDriver", wished: "Selection", *, follow: bool
) -> AsyncIterator[bytes]:
    """What a plugin gives back of a log that is not kept here."""
    facts = log_facts(cs, container)
    config = {
        "Since": f"{wished.since}Z" if wished.since else "0001-01-01T00:00:00Z",
        "Until": f"{wished.until}Z" if wished.until else "0001-01-01T00:00:00Z",
        "Tail": -1 if wished.tail is None else wished.tail,
        "Follow": follow,
    }
    log = container.host_config.log_config
    attributes = log_attributes(log, facts)
    async for entries in log_plugins.read(driver, log, facts, config):
        yield render_records(entries, wished, attributes)


class KeptLog(Struct, frozen=True):
    """The log of a container that can be read here."""

    path: Path
    form: str
    """Of `log_forms.FORMS`."""
    attributes: Mapping[str, str]
    """What `details` shows of each line, where the lines do not tell it themselves."""

    def reader(self, tail: int | None) -> LogReader:
        """Of all, or of the last `tail` lines and what follows."""
        return LogReader(self.path, FORMS[self.form], tail=tail)

    def render(self, block: bytes, wished: "Selection") -> bytes:
        """What a client gets of whole entries."""
        if self.form == "json":
            return render(decode_lines(block), wished)
        return render_records(list(records(block)), wished, self.attributes)


def log_facts(cs: Containers, container: Container) -> LogFacts:
    """What drivers tell of a container on this host."""
    return facts_of(container, cs.host.hostname)


def kept_log(cs: Containers, container: Container) -> KeptLog | None:
    """The log of a container; None: its driver keeps none, and a cache is not wished."""
    log, facts = container.host_config.log_config, log_facts(cs, container)
    file = kept_file(log, facts, places_in(cs.settings.home(container.id), container.id))
    return KeptLog(Path(file.path), file.form, log_attributes(log, facts)) if file else None


def select(options: LogOptions, *, framed: bool, now_ns: int) -> Selection:
    """What `options` mean. Raises InvalidParameter in Docker's words."""
    return Selection(
        streams=frozenset(name for name in ("stdout", "stderr") if getattr(options, name)),
        framed=framed,
        timestamps=options.timestamps,
        details=options.details,
        since=_instant(options.since, now_ns),
        until=_instant(options.until, now_ns),
        tail=int(options.tail) if options.tail.isdecimal() else None,
    )


def _instant(text: str, now_ns: int) -> str:
    if text in ("", "0"):
        return ""
    try:
        return rfc3339_nano(parse_timestamp(text, now_ns=now_ns)).removesuffix("Z")
    except ValueError as error:
        raise InvalidParameter(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def render(lines: Sequence[Line], wished: Selection) -> bytes:
    """The selected ones of `lines` as a client gets them. Pure."""
    pieces: list[bytes] = []
    for line in lines:
        if line.stream not in wished.streams:
            continue
        instant = line.time.removesuffix("Z")
        if not wished.has(instant):
            continue
        text = line.log
        if wished.details:
            text = f"{_attributes(line.attrs)} {text}"
        if wished.timestamps:
            text = f"{fixed(instant)}Z {text}"
        payload = text.encode()
        if wished.framed:
            pieces.append(header(STDERR if line.stream == "stderr" else STDOUT, len(payload)))
        pieces.append(payload)
    return b"".join(pieces)


def render_records(entries: Sequence[Record], wished: Selection, attributes: Mapping[str, str]) -> bytes:
    """Likewise, of records: all lines of one have its time. Pure."""
    details = f"{_attributes(attributes)} " if wished.details else ""
    pieces: list[bytes] = []
    for entry in entries:
        instant = rfc3339_nano(entry.time_ns).removesuffix("Z")
        if STREAMS[entry.stream] not in wished.streams or not wished.has(instant):
            continue
        prefix = (f"{fixed(instant)}Z " if wished.timestamps else "") + details
        *lines, rest = entry.output.split(b"\n")
        texts = [b"%s%s\n" % (prefix.encode(), line) for line in lines]
        if rest:
            texts.append(prefix.encode() + rest)
        for text in texts:
            if wished.framed:
                pieces.append(header(entry.stream, len(text)))
            pieces.append(text)
    return b"".join(pieces)


def fixed(instant: str) -> str:
    """The instant with all nine decimals, as logs have them."""
    whole, _, fraction = instant.partition(".")
    return f"{whole}.{fraction.ljust(9, '0')}"


def _attributes(attrs: Mapping[str, str]) -> str:
    return ",".join(f"{quote_plus(key)}={quote_plus(attrs[key])}" for key in sorted(attrs))


async def _read(kept: KeptLog, wished: Selection) -> AsyncIterator[bytes]:
    """All that is there."""
    reader = kept.reader(wished.tail)
    try:
        async for part in _parts(reader, kept, wished):
            yield part
    finally:
        reader.close()


async def _parts(reader: LogReader, kept: KeptLog, wished: Selection) -> AsyncIterator[bytes]:
    """What can be read now, rendered."""
    ended = False
    while not ended:
        part, ended = await in_thread(partial(_next, reader, kept, wished))
        if part:
            yield part


def _next(reader: LogReader, kept: KeptLog, wished: Selection) -> tuple[bytes, bool]:
    """The next part, and whether it is the last for now: a short log takes one way to a thread. Blocks."""
    parts: list[bytes] = []
    size = 0
    while size < BLOCK_BYTES:
        block = reader.read()
        if not block:
            return b"".join(parts), True
        size += len(block)
        parts.append(kept.render(block, wished))
    return b"".join(parts), False


async def _follow(
    cs: Containers, container: Container, kept: KeptLog, wished: Selection
) -> AsyncIterator[bytes]:
    """All that is there, and what comes until this run of the container ends or `until` is reached."""
    ended = cs.live(container.id).next_exit
    watch = await in_thread(inotify.open_watch, str(kept.path.parent), _CHANGES)
    reader = kept.reader(wished.tail)
    try:
        while True:
            last = ended.done() or _is_past(wished.until)  # asked before the read: what came before is read
            async for part in _parts(reader, kept, wished):
                yield part
            if last:
                return
            await _changed(watch, ended, wished.until)
    finally:
        os.close(watch)
        reader.close()


def _is_past(until: str) -> bool:
    return bool(until) and rfc3339_nano(time.time_ns()).removesuffix("Z") > until


async def _changed(watch: int, ended: "asyncio.Future[int]", until: str) -> None:
    """Wait until the log has changed, the run has ended, or `until` has come."""
    loop, wake = asyncio.get_running_loop(), asyncio.Event()

    def end(_: object) -> None:
        wake.set()

    loop.add_reader(watch, wake.set)
    ended.add_done_callback(end)
    try:
        left_s = (parse_timestamp(f"{until}Z", now_ns=0) - time.time_ns()) / 10**9 if until else None
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await wake.wait()
    finally:
        loop.remove_reader(watch)
        ended.remove_done_callback(end)
    with suppress(BlockingIOError):  # woken by the end: nothing has changed
        os.read(watch, 64 * 1024)
