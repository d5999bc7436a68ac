"""Each log option acts or is refused in Docker's words, and drivers are told what they tell."""

from pathlib import Path

import pytest

from lighterman.apitypes.container import LogConfig
from lighterman.containers.log_facts import LogFacts, attributes, tag
from lighterman.containers.log_options import (
    OFFERED,
    LogPlaces,
    kept_file,
    log_attributes,
    resolve_log_config,
    shipped,
)
from lighterman.errdefs import EngineError, InvalidParameter, Unimplemented
from lighterman.runtime import LogFile, Shipped

ENGINE = LogConfig("json-file", {"max-size": "10m"})
PLACES = LogPlaces(Path("/json"), Path("/local"), Path("/cache"))
BOX = LogFacts(
    id="0123456789abcdef" * 4,
    name="box",
    image_id="sha256:" + "ab" * 32,
    image_name="busybox:1",
    command="sh -c true",
    created_ns=1_700_000_000 * 10**9,
    hostname="host",
    journal="/journal",
    labels={"app": "web", "app.tier": "front", "other": "x"},
    env={"STAGE": "test", "STAGE_B": "b"},
)
GELF = {"gelf-address": "udp://h:1"}
SPLUNK = {"splunk-url": "http://h:1", "splunk-token": "t"}


def log(driver: str, **options: str) -> LogConfig:
    return LogConfig(driver, {name.replace("_", "-"): value for name, value in options.items()})


# What is chosen


def test_a_container_gets_the_engine_s_options_for_the_engine_s_driver_only() -> None:
    assert resolve_log_config(LogConfig(), ENGINE) == ENGINE
    assert resolve_log_config(log("json-file", max_file="2"), ENGINE).config == {
        "max-size": "10m",
        "max-file": "2",
    }
    assert resolve_log_config(log("journald"), ENGINE) == LogConfig("journald", {})


def test_what_the_engine_says_of_caches_is_for_every_driver() -> None:
    engine = LogConfig("json-file", {"cache-disabled": "true", "max-size": "1m"})
    assert resolve_log_config(log("journald"), engine).config == {"cache-disabled": "true"}


@pytest.mark.parametrize("driver", ["awslogs", "gcplogs", "logentries"])
def test_drivers_that_only_dockerd_has_are_named(driver: str) -> None:
    with pytest.raises(Unimplemented, match=f"the log driver {driver} is not implemented yet"):
        resolve_log_config(LogConfig(driver), ENGINE)


def test_every_driver_that_is_offered_can_be_had() -> None:
    for driver in OFFERED:
        options = {"gelf": GELF, "splunk": SPLUNK}.get(driver, {})
        assert resolve_log_config(LogConfig(driver, options), ENGINE).type == driver


REFUSED = [
    ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
    ("json-file", {"foo": "bar"}, "unknown log opt 'foo' for json-file log driver"),
    ("local", {"foo": "bar"}, "unknown log opt 'foo' for log driver local"),
    ("syslog", {"max-size": "1"}, "unknown log opt 'max-size' for syslog log driver"),
    ("gelf", GELF | {"foo": "bar"}, 'unknown log opt "foo" for gelf log driver'),
    ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
    (
        "json-file",
        {"max-buffer-size": "1m"},
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
    ),
    (
        "syslog",
        {"mode": "non-blocking", "max-buffer-size": "x"},
        "error parsing option max-buffer-size: invalid size: 'x'",
    ),
    ("syslog", {"cache-disabled": "x"}, "invalid value for option cache-disabled: x"),
    ("json-file", {"max-size": "x"}, "invalid size: 'x'"),
    ("json-file", {"max-size": "-2"}, "invalid size: '-2'"),
    ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
    ("json-file", {"max-file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
    ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
    ("json-file", {"compress": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
    (
        "json-file",
        {"compress": "true", "max-size": "1m"},
        "compress cannot be true when max-file is less than 2 or max-size is not set",
    ),
    ("json-file", {"labels-regex": "("}, "error parsing regexp: "),
    ("local", {"max-size": "x"}, "invalid value for max-size: x: invalid size: 'x'"),
    ("local", {"max-file": "1"}, "compression cannot be enabled when max file count is 1"),
    ("local", {"max-file": "-1"}, "max file count cannot be less than 0"),
    ("syslog", {"syslog-address": "h"}, "syslog-address should be in form proto://address, got h"),
    ("syslog", {"syslog-facility": "nope"}, "invalid syslog facility"),
    ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
    ("syslog", {"syslog-format": "nope"}, "Invalid syslog format"),
    ("gelf", {}, "gelf-address is a required parameter"),
    ("gelf", {"gelf-address": "unix:///x"}, "gelf: endpoint needs to be TCP or UDP"),
    ("gelf", {"gelf-address": "udp://h"}, "gelf: please provide gelf-address as proto://host:port"),
    (
        "gelf",
        {"gelf-address": "tcp://h:1", "gelf-compression-type": "none"},
        "compression is only supported on UDP",
    ),
    (
        "gelf",
        GELF | {"gelf-compression-level": "10"},
        'unknown value "10" for log opt "gelf-compression-level" for gelf log driver',
    ),
    ("gelf", GELF | {"gelf-tcp-max-reconnect": "1"}, '"gelf-tcp-max-reconnect" is only valid for TCP'),
    (
        "fluentd",
        {"fluentd-address": "udp://h"},
        "invalid fluentd-address udp://h: unsupported scheme: 'udp'",
    ),
    ("fluentd", {"fluentd-address": "unix:///"}, "invalid fluentd-address unix:///: path is empty"),
    ("fluentd", {"fluentd-async": "x"}, 'strconv.ParseBool: parsing "x": invalid syntax'),
    ("fluentd", {"fluentd-retry-wait": "x"}, 'time: invalid duration "x"'),
    ("fluentd", {"fluentd-max-retries": "-1"}, 'strconv.ParseUint: parsing "-1": invalid syntax'),
    ("fluentd", {"fluentd-buffer-limit": "x"}, "invalid size: 'x'"),
    ("splunk", {}, "splunk: splunk-url is expected"),
    ("splunk", {"splunk-url": "http://h"}, "splunk: splunk-token is expected"),
    (
        "splunk",
        {"splunk-url": "ftp://h"},
        "splunk: expected format scheme://dns_name_or_ip:port for splunk-url",
    ),
    ("json-file", {"tag": "{{nope .ID}}"}, 'template: log-tag:1: function "nope" not defined'),
    ("syslog", {"tag": "{{.Nope}}"}, "can't evaluate field Nope in type *logger.Info"),
]


@pytest.mark.parametrize(("driver", "options", "text"), REFUSED)
def test_what_cannot_be_is_refused_at_create(driver: str, options: dict[str, str], text: str) -> None:
    with pytest.raises(EngineError) as refusal:
        resolve_log_config(LogConfig(driver, options), ENGINE)
    assert isinstance(refusal.value, InvalidParameter)
    assert text in str(refusal.value)


# What the monitor is told


def test_sizes_of_files_are_decimal_as_with_dockerd() -> None:
    file = kept_file(log("json-file", max_size="10m", max_file="3", compress="true"), BOX, PLACES)
    assert file == LogFile("/json", 10_000_000, 3, compress=True)


def test_a_log_that_names_no_limit_does_not_fill_the_disk() -> None:
    assert kept_file(log("json-file"), BOX, PLACES) == LogFile("/json", 100_000_000, 5)
    assert kept_file(log("json-file", max_file="2"), BOX, PLACES) == LogFile("/json", 100_000_000, 2)
    assert kept_file(log("json-file", max_size="-1"), BOX, PLACES) == LogFile("/json", 0, 1)
    assert kept_file(log("json-file", max_size="5k"), BOX, PLACES) == LogFile("/json", 5_000, 1)


def test_local_rotates_as_dockerd_s_does() -> None:
    assert kept_file(log("local"), BOX, PLACES) == LogFile(
        "/local", 20 * 2**20, 5, form="records", compress=True
    )


def test_what_is_sent_is_kept_in_a_cache_unless_that_is_refused() -> None:
    assert kept_file(log("syslog", cache_max_size="1m"), BOX, PLACES) == LogFile(
        "/cache", 1_000_000, 5, form="records", compress=True
    )
    assert kept_file(log("syslog", cache_disabled="true"), BOX, PLACES) is None
    assert kept_file(log("none"), BOX, PLACES) is None
    assert shipped(log("none"), BOX) is None


def test_files_need_a_helper_only_where_nobody_may_wait_for_them() -> None:
    assert shipped(log("json-file"), BOX) is None
    assert shipped(log("local", mode="non-blocking"), BOX) == Shipped("file", {}, 10**6)


def test_a_ring_has_the_size_that_was_asked_for() -> None:
    told = shipped(log("syslog", mode="non-blocking", max_buffer_size="4m"), BOX)
    assert told is not None
    assert told.ring_bytes == 4 * 2**20
    blocking = shipped(log("syslog"), BOX)
    assert blocking is not None
    assert blocking.ring_bytes is None


def test_fluentd_async_is_a_ring_of_its_own() -> None:
    told = shipped(log("fluentd", fluentd_async="true", fluentd_buffer_limit="2k"), BOX)
    assert told is not None
    assert (told.ring_bytes, told.settings["async"]) == (2048, True)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", ("", "")),
        ("udp://h", ("udp", "h:514")),
        ("tcp://h:1", ("tcp", "h:1")),
        ("tcp+tls://[::1]:6514", ("tcp+tls", "[::1]:6514")),
        ("unixgram:///dev/log", ("unixgram", "/dev/log")),
    ],
)
def test_syslog_goes_where_its_address_says(address: str, told: tuple[str, str]) -> None:
    settings = shipped(log("syslog", syslog_address=address), BOX)
    assert settings is not None
    assert (settings.settings["network"], settings.settings["address"]) == told
    assert (settings.settings["facility"], settings.settings["tag"]) == (3, BOX.id[:12])


def test_the_journal_is_told_names_that_it_takes() -> None:
    told = shipped(log("journald", labels="app.tier,app", env="STAGE"), BOX)
    assert told is not None
    assert told.settings["fields.APP_TIER"] == "front"
    assert told.settings["fields.STAGE"] == "test"
    assert told.settings["fields.CONTAINER_NAME"] == "box"
    assert told.settings["address"] == "/journal"


# What is told of a container


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "0123456789ab"),
        ("{{ .Name }}/{{.FullID}}", "box/" + BOX.id),
        ("{{.ImageName}}-{{.ImageID}}", "busybox:1-abababababab"),
        ("{{.ImageFullID}}", BOX.image_id),
        ("{{.Command}}@{{.Hostname}}.{{.DaemonName}}", "sh -c true@host.docker"),
        ("{{.ContainerName}}", "/box"),
        ("{{upper .Name}}{{.Name | title}}", "BOXBox"),
        ("{{truncate .ID 4}}", "0123"),
        ('{{index .ContainerLabels "app"}}', "web"),
    ],
)
def test_a_tag_is_a_template(template: str, text: str) -> None:
    assert tag(template, BOX) == text


def test_labels_and_variables_are_named_or_matched() -> None:
    assert attributes({"labels": "app,none", "env": "STAGE"}, BOX) == {"app": "web", "STAGE": "test"}
    assert attributes({"labels-regex": "^app", "env-regex": "_B$"}, BOX) == {
        "app": "web",
        "app.tier": "front",
        "STAGE_B": "b",
    }


def test_a_tag_is_an_attribute_where_it_was_asked_for() -> None:
    assert log_attributes(log("json-file", tag="{{.Name}}", labels="app"), BOX) == {
        "app": "web",
        "tag": "box",
    }
    assert log_attributes(log("json-file"), BOX) == {}
