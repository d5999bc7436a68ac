"""The log driver of a container and its options: what is chosen, checked, and told to the monitor. Pure."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from lighterman.apitypes.container import LogConfig
from lighterman.containers.log_drivers import COMMON, DRIVERS, Expected
from lighterman.containers.log_facts import JOURNAL, LogFacts, attributes, tag
from lighterman.containers.log_values import Options, integer, size_bytes, switch
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.runtime import LogFile, Shipped

OFFERED = ("fluentd", "gelf", "journald", "json-file", "local", "none", "splunk", "syslog")
_ELSEWHERE = ("awslogs", "gcplogs", "logentries")
"""What dockerd has, and we do not: services of one vendor each."""
_CACHE = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_FILES = frozenset({"max-size", "max-file", "compress"})
_UNKNOWN = {
    "json-file": "unknown log opt '{option}' for json-file log driver",
    "local": "unknown log opt '{option}' for log driver local",
}
RING_BYTES = 10**6
LOCAL_BYTES, LOCAL_FILES = 20 * 2**20, 5
JSON_BYTES, JSON_FILES = 100 * 10**6, 5
"""Of a json-file that says nothing of it: dockerd's grows until the disk is full."""
NO_LIMIT = "-1"


class LogPlaces(Struct, frozen=True):
    """Where the logs of one container are kept."""

    json: Path
    local: Path
    cache: Path
    """Of what is sent elsewhere, in the form of local: so it can be read all the same."""


def places_in(home: Path, container_id: str) -> LogPlaces:
    """Of the container with this directory."""
    return LogPlaces(
        json=home / f"{container_id}-json.log",
        local=home / "container-local.log",
        cache=home / "container-cached.log",
    )


def offered() -> list[str]:
    """The names of the drivers that this host can use, as /info lists them. Looks for the journal."""
    return [name for name in OFFERED if name != "none" and (name != "journald" or os.path.exists(JOURNAL))]


def resolve_log_config(wish: LogConfig, default: LogConfig, *, plugins: bool = False) -> LogConfig:
    """The driver and options that a container gets: its own, and those of the engine for that driver.

    What the engine says of caches is for all drivers. With `plugins`, what is none of our drivers is a plugin
    with options of its own. Raises InvalidParameter in Docker's words for unknown drivers and options,
    Unimplemented. Source: mergeAndVerifyLogConfig of moby 20.10.
    """
    driver = wish.type or default.type
    engine = default.config or {}
    inherited = engine if driver == default.type else {key: engine[key] for key in engine.keys() & _CACHE}
    options = {**inherited, **(wish.config or {})}
    if driver in _ELSEWHERE:
        raise Unimplemented(f"the log driver {driver} is not implemented yet")
    if driver not in OFFERED:
        if not plugins:
            raise InvalidParameter(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
        _check_mode(options)
        return LogConfig(driver, options)
    if driver != "none":
        _check_mode(options)
        _check_names(driver, options)
        _check_values(driver, options)
    return LogConfig(driver, options)


def _check_mode(options: Options) -> None:
    if (mode := options.get("mode", "")) not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if options.get("mode") != "non-blocking":
            raise InvalidParameter(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            )
        try:
            size_bytes(options["max-buffer-size"], base=1024)
        except InvalidParameter as error:
            raise InvalidParameter(f"error parsing option max-buffer-size: {error}") from None
    try:
        switch(options, "cache-disabled")
    except InvalidParameter:
        wrong = options["cache-disabled"]
        raise InvalidParameter(f"invalid value for option cache-disabled: {wrong}") from None


def _check_names(driver: str, options: Options) -> None:
    own = _FILES if driver in _UNKNOWN else DRIVERS[driver].options
    text = _UNKNOWN[driver] if driver in _UNKNOWN else DRIVERS[driver].unknown
    for option in sorted(options.keys() - own - COMMON - _CACHE - {"mode", "max-buffer-size"}):
        raise InvalidParameter(text.format(option=option, driver=driver))


def _check_values(driver: str, options: Options) -> None:
    """Build everything once, of no container. What fails is told as dockerd tells it at the start."""
    nobody = LogFacts()
    try:
        attributes(options, nobody)
        tag(options.get("tag", ""), nobody)
        kept_file(LogConfig(driver, dict(options)), nobody, LogPlaces(Path(), Path(), Path()))
        shipped(LogConfig(driver, dict(options)), nobody)
    except InvalidParameter as error:
        kind = Expected if isinstance(error, Expected) else InvalidParameter
        raise kind(f"failed to initialize logging driver: {error}") from error


# What the monitor is told


def kept_file(log: LogConfig, facts: LogFacts, places: LogPlaces) -> LogFile | None:
    """The log that `docker logs` reads; None: there is none."""
    options = log.config or {}
    if log.type == "json-file":
        return _json_file(options, facts, str(places.json))
    if log.type == "local":
        return _local(options, str(places.local))
    if log.type == "none" or switch(options, "cache-disabled"):
        return None
    cache = {name.removeprefix("cache-"): options[name] for name in options.keys() & _CACHE}
    return _local(cache, str(places.cache))


def shipped(log: LogConfig, facts: LogFacts, fifo: str = "") -> Shipped | None:
    """What a helper of the monitor does with the output; None: it needs none. `fifo` is a plugin's."""
    options = log.config or {}
    ring = None
    if options.get("mode") == "non-blocking":
        text = options.get("max-buffer-size")
        ring = RING_BYTES if text is None else size_bytes(text, base=1024)
    if log.type in ("json-file", "local"):
        return None if ring is None else Shipped("file", {}, ring)
    if log.type == "none":
        return None
    if log.type not in DRIVERS:
        return Shipped("plugin", {"path": fifo}, ring)
    driver = DRIVERS[log.type]
    return Shipped(
        log.type, driver.settings(options, facts), driver.ring_bytes(options) if ring is None else ring
    )


def log_attributes(log: LogConfig, facts: LogFacts) -> Mapping[str, str]:
    """What `docker logs --details` shows: labels, variables, and the tag if one was asked for."""
    options = log.config or {}
    named = attributes(options, facts)
    return named | ({"tag": tag(options["tag"], facts)} if options.get("tag") else {})


def _json_file(options: Options, facts: LogFacts, path: str) -> LogFile:
    """Source: daemon/logger/jsonfilelog of moby, but for the limit of a log that names none."""
    asked = options.get("max-size", "")
    limit = size_bytes(asked, base=1000) if asked not in ("", NO_LIMIT) else 0
    if asked not in ("", NO_LIMIT) and not limit:
        raise InvalidParameter("max-size must be a positive number")
    files = integer(options.get("max-file", "1"))
    if files < 1:
        raise InvalidParameter("max-file cannot be less than 1")
    compress = switch(options, "compress")
    if not asked:
        limit, files = JSON_BYTES, files if "max-file" in options else JSON_FILES
    if compress and (files == 1 or asked in ("", NO_LIMIT)):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")
    attrs = log_attributes(LogConfig("json-file", dict(options)), facts)
    return LogFile(path, limit, files, attrs, compress=compress)


def _local(options: Options, path: str) -> LogFile:
    """Source: daemon/logger/local of moby."""
    limit, files = LOCAL_BYTES, LOCAL_FILES
    if "max-size" in options:
        with _naming("max-size", options["max-size"]):
            limit = size_bytes(options["max-size"], base=1000)
    if "max-file" in options:
        with _naming("max-file", options["max-file"]):
            files = integer(options["max-file"])
    if files < 0:
        raise InvalidParameter("max file count cannot be less than 0")
    compress = switch(options, "compress", default=True)
    if compress and files <= 1:
        raise InvalidParameter("compression cannot be enabled when max file count is 1")
    return LogFile(path, limit, max(1, files), form="records", compress=compress)


@contextmanager
def _naming(option: str, value: str) -> Iterator[None]:
    """Say whose value is wrong."""
    try:
        yield
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid value for {option}: {value}: {error}") from None
