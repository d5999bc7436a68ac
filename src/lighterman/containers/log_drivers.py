"""The log drivers that send: which options each has, and what the monitor's helper is told. Pure.

A driver's function makes its settings of a container's options and of what is told of the container, and
refuses in Docker's words what cannot be: called without a container, it checks the options.
"""

import re
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult

import msgspec
from msgspec import Struct, field

from lighterman.containers.log_facts import LogFacts, attributes, tag
from lighterman.containers.log_values import (
    Options,
    address,
    host_and_port,
    integer,
    milliseconds,
    size_bytes,
    switch,
)
from lighterman.errdefs import InvalidParameter, Unimplemented
from lighterman.lib.go_time import rfc3339_nano

Settings = Mapping[str, str | int]
COMMON = frozenset({"env", "env-regex", "labels", "labels-regex", "tag"})
_SCHEMES = ("tcp", "tcp+tls", "udp", "unix", "unixgram")
_FACILITIES = {
    **{
        name: number
        for number, name in enumerate(
            (
                "kern",
                "user",
                "mail",
                "daemon",
                "auth",
                "syslog",
                "lpr",
                "news",
                "uucp",
                "cron",
                "authpriv",
                "ftp",
            )
        )
    },
    **{f"local{number}": 16 + number for number in range(8)},
}


class Expected(InvalidParameter):
    """An option that the driver cannot be without: who makes a container may still name it."""


class LogDriver(Struct, frozen=True):
    """A driver that sends. `unknown` is how it refuses an option that it does not have."""

    settings: Callable[[Options, LogFacts], Settings]
    options: frozenset[str] = frozenset()
    unknown: str = "unknown log opt '{option}' for {driver} log driver"
    ring_bytes: Callable[[Options], int | None] = field(default=lambda options: None)
    """A driver's own wish not to be waited for: how much of its output may wait."""


def _tag(options: Options, facts: LogFacts) -> str:
    return tag(options.get("tag") or "{{.ID}}", facts)


def _fields(values: Mapping[str, str]) -> dict[str, str | int]:
    return {f"fields.{name}": value for name, value in values.items()}


# syslog


def syslog(options: Options, facts: LogFacts) -> Settings:
    """Source: daemon/logger/syslog of moby."""
    network, place = _syslog_address(options.get("syslog-address", ""))
    form = options.get("syslog-format", "")
    if form not in ("", "rfc3164", "rfc5424", "rfc5424micro"):
        raise InvalidParameter("Invalid syslog format")
    return {
        "network": network,
        "address": place,
        "facility": _facility(options.get("syslog-facility", "")),
        "format": form,
        "tag": _tag(options, facts),
        "ca": options.get("syslog-tls-ca-cert", ""),
        "cert": options.get("syslog-tls-cert", ""),
        "key": options.get("syslog-tls-key", ""),
        "skip_verify": "syslog-tls-skip-verify" in options,
    }


def _syslog_address(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    if not text.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
        raise InvalidParameter(f"syslog-address should be in form proto://address, got {text}")
    parts = address(text)
    if parts.scheme in ("unix", "unixgram"):
        return parts.scheme, parts.path
    return parts.scheme, host_and_port(parts, 514)


def _facility(text: str) -> int:
    if text in _FACILITIES:
        return _FACILITIES[text]
    if not text:
        return _FACILITIES["daemon"]
    if not re.fullmatch(r"\+?\d+", text) or int(text) > 23:
        raise InvalidParameter("invalid syslog facility")
    return int(text)


# journald


def journald(options: Options, facts: LogFacts) -> Settings:
    """Source: daemon/logger/journald of moby."""
    name = _tag(options, facts)
    told = {
        "CONTAINER_ID": facts.id[:12],
        "CONTAINER_ID_FULL": facts.id,
        "CONTAINER_NAME": facts.name,
        "CONTAINER_TAG": name,
        "IMAGE_NAME": facts.image_name,
        "SYSLOG_IDENTIFIER": name,
        **attributes(options, facts, journal_name),
    }
    return {"address": facts.journal, **_fields(told)}


def journal_name(name: str) -> str:
    """A name that the journal takes: upper case, digits and underscores, no underscore first."""
    return re.sub(r"[^A-Z0-9]", "_", re.sub(r"[a-z]", lambda letter: letter[0].upper(), name)).lstrip("_")


# gelf


def gelf(options: Options, facts: LogFacts) -> Settings:
    """Source: daemon/logger/gelf of moby."""
    network, place = _gelf_address(options.get("gelf-address", ""))
    for name, transport in (
        ("gelf-compression-type", "udp"),
        ("gelf-compression-level", "udp"),
        ("gelf-tcp-max-reconnect", "tcp"),
        ("gelf-tcp-reconnect-delay", "tcp"),
    ):
        if name in options and network != transport:
            raise InvalidParameter(
                "compression is only supported on UDP"
                if transport == "udp"
                else f'"{name}" is only valid for TCP'
            )
    extra = {
        "_container_id": facts.id,
        "_container_name": facts.name,
        "_image_id": facts.image_id,
        "_image_name": facts.image_name,
        "_command": facts.command,
        "_tag": _tag(options, facts),
        "_created": rfc3339_nano(facts.created_ns),
        **attributes(options, facts, lambda name: name if name.startswith("_") else f"_{name}"),
    }
    return {
        "network": network,
        "address": place,
        "extra": msgspec.json.encode(extra, order="sorted").decode(),
        "compression": _gelf_choice(options, "gelf-compression-type", ("gzip", "zlib", "none")),
        "level": int(_gelf_choice(options, "gelf-compression-level", _LEVELS)),
        "reconnects": _count(options, "gelf-tcp-max-reconnect", 3),
        "delay_s": _count(options, "gelf-tcp-reconnect-delay", 1),
    }


_LEVELS = ("1", "-1", *(str(level) for level in range(10)))


def _gelf_address(text: str) -> tuple[str, str]:
    if not text:
        raise InvalidParameter("gelf-address is a required parameter")
    if not text.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES)):
        raise InvalidParameter(f"gelf-address should be in form proto://address, got {text}")
    parts = address(text)
    if parts.scheme not in ("udp", "tcp"):
        raise InvalidParameter("gelf: endpoint needs to be TCP or UDP")
    if parts.port is None:
        raise InvalidParameter("gelf: please provide gelf-address as proto://host:port")
    return parts.scheme, parts.netloc


def _gelf_choice(options: Options, name: str, choices: tuple[str, ...]) -> str:
    value = options.get(name, choices[0])
    if value not in choices:
        raise InvalidParameter(f'unknown value "{value}" for log opt "{name}" for gelf log driver')
    return value


def _count(options: Options, name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not re.fullmatch(r"\+?\d+", text):
        raise InvalidParameter(f'"{name}" must be a positive integer')
    return int(text)


# fluentd

_FOR_EVER = 2**31 - 1


def fluentd(options: Options, facts: LogFacts) -> Settings:
    """Source: daemon/logger/fluentd of moby."""
    network, place = _fluentd_address(options.get("fluentd-address", ""))
    if options.get("fluentd-async") and options.get("fluentd-async-connect"):
        raise InvalidParameter(
            "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect"
        )
    fluentd_ring_bytes(options)
    told = {"container_id": facts.id, "container_name": f"/{facts.name}", **attributes(options, facts)}
    return {
        "network": network,
        "address": place,
        "tag": _tag(options, facts),
        "async": _is_async(options),
        "exact": switch(options, "fluentd-sub-second-precision"),
        "ack": switch(options, "fluentd-request-ack"),
        "retries": _retries(options.get("fluentd-max-retries") or str(_FOR_EVER)),
        "wait_ms": milliseconds(options.get("fluentd-retry-wait") or "1s"),
        **_fields(told),
    }


def _is_async(options: Options) -> bool:
    return switch(options, "fluentd-async") or switch(options, "fluentd-async-connect")


def fluentd_ring_bytes(options: Options) -> int | None:
    """With `fluentd-async` the process never waits, and so much output may."""
    limit = size_bytes(options.get("fluentd-buffer-limit") or "1m", base=1024)
    return limit if _is_async(options) else None


def _retries(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise InvalidParameter(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return min(int(text), _FOR_EVER)


def _fluentd_address(text: str) -> tuple[str, str]:
    if not text:
        return "tcp", "127.0.0.1:24224"
    try:
        parts = address(text if "://" in text else f"tcp://{text}")
        if parts.scheme == "unix":
            if not parts.path.strip("/"):
                raise InvalidParameter("path is empty")
            return "unix", parts.path
        if parts.scheme not in ("tcp", "tls"):
            raise InvalidParameter(f"unsupported scheme: '{parts.scheme}'")
        if parts.path:
            raise InvalidParameter("should not contain a path element")
    except InvalidParameter as error:
        raise InvalidParameter(f"invalid fluentd-address {text}: {error}") from None
    return parts.scheme, f"{parts.hostname or '127.0.0.1'}:{parts.port or 24224}"


# splunk


def splunk(options: Options, facts: LogFacts) -> Settings:
    """Source: daemon/logger/splunk of moby."""
    parts = _splunk_address(options)
    if "splunk-caname" in options:
        raise Unimplemented("the log option splunk-caname is not implemented yet")
    if "splunk-token" not in options:
        raise Expected("splunk: splunk-token is expected")
    form = options.get("splunk-format", "inline")
    if form not in ("inline", "json", "raw"):
        raise InvalidParameter(f"unknown format specified {form}, supported formats are inline, json and raw")
    level = integer(options.get("splunk-gzip-level", "-1"))
    if not -1 <= level <= 9:
        raise InvalidParameter(
            f"not supported level '{options['splunk-gzip-level']}' for splunk-gzip-level "
            "(supported values between -1 and 9)"
        )
    return {
        "address": parts.netloc,
        "tls": parts.scheme == "https",
        "ca": options.get("splunk-capath", ""),
        "skip_verify": switch(options, "splunk-insecureskipverify"),
        "token": options["splunk-token"],
        "format": form,
        "tag": "" if options.get("tag") == "" else _tag(options, facts),
        "gzip": switch(options, "splunk-gzip"),
        "level": level,
        "ack": switch(options, "splunk-index-acknowledgment"),
        "verify": switch(options, "splunk-verify-connection", default=True),
        "wait_ms": 5000,
        "source": options.get("splunk-source", ""),
        "sourcetype": options.get("splunk-sourcetype", ""),
        "index": options.get("splunk-index", ""),
        **_fields(attributes(options, facts)),
    }


def _splunk_address(options: Options) -> SplitResult:
    if "splunk-url" not in options:
        raise Expected("splunk: splunk-url is expected")
    parts = address(options["splunk-url"])
    if (
        parts.scheme not in ("http", "https")
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or not parts.netloc
    ):
        raise InvalidParameter("splunk: expected format scheme://dns_name_or_ip:port for splunk-url")
    return parts


def _prefixed(prefix: str, names: str) -> frozenset[str]:
    return frozenset(f"{prefix}-{name}" for name in names.split())


DRIVERS: Mapping[str, LogDriver] = {
    "syslog": LogDriver(
        syslog,
        _prefixed("syslog", "address facility format tls-ca-cert tls-cert tls-key tls-skip-verify"),
    ),
    "journald": LogDriver(journald),
    "gelf": LogDriver(
        gelf,
        _prefixed("gelf", "address compression-level compression-type tcp-max-reconnect tcp-reconnect-delay"),
        unknown='unknown log opt "{option}" for {driver} log driver',
    ),
    "fluentd": LogDriver(
        fluentd,
        _prefixed(
            "fluentd",
            "address async async-connect buffer-limit max-retries request-ack retry-wait "
            "sub-second-precision",
        ),
        ring_bytes=fluentd_ring_bytes,
    ),
    "splunk": LogDriver(
        splunk,
        _prefixed(
            "splunk",
            "capath caname format gzip gzip-level index index-acknowledgment insecureskipverify source "
            "sourcetype token url verify-connection",
        ),
    ),
}
