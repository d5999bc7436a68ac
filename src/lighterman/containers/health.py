"""Whether a container is well: a state that moves with each probe. Pure; who probes is `probing.py`.

A container with a check is `starting` until a probe succeeds, then `healthy`; `retries` failures in a row
make it `unhealthy`, one success heals it. Failures of a probe that began within the start period do not count
until one has succeeded. Source: HealthConfig of the API; moby's daemon/health.go for the defaults.
"""

import hashlib
from collections.abc import Sequence

from msgspec import Struct, UnsetType, structs

from lighterman.apitypes import health as wire
from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.containers.merge import given
from lighterman.errdefs import InvalidParameter
from lighterman.lib.go_time import go_duration, rfc3339_nano

STARTING, HEALTHY, UNHEALTHY, NONE = "starting", "healthy", "unhealthy", "none"
INTERVAL_NS = TIMEOUT_NS = 30 * 10**9
RETRIES = 3
MILLISECOND_NS = 10**6
KEPT_PROBES = 5
KEPT_BYTES = 4096
FAILED = -1
"""The code of a probe that could not be started or that took too long."""


class Probe(Struct, frozen=True):
    """What came of one probe."""

    began_ns: int
    ended_ns: int
    code: int
    output: str


class Health(Struct, frozen=True):
    """As it is kept: in the container's row, written at each change of `status`."""

    status: str = STARTING
    failing_streak: int = 0
    log: tuple[Probe, ...] = ()  # the last ones, the newest last


def check_health(check: HealthConfig) -> None:
    """Raises InvalidParameter in Docker's words for a check that cannot be."""
    for name, value_ns in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ):
        if value_ns != 0 and value_ns < MILLISECOND_NS:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")
    if check.test and check.test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise InvalidParameter(f"Unknown type '{check.test[0]}' in Healthcheck (try 'CMD')")
    if check.test and check.test[0] != "NONE" and not check.test[1:]:
        raise InvalidParameter(f"Test in Healthcheck has no command behind {check.test[0]}")


def check_of(config: ContainerConfig) -> HealthConfig | None:
    """The check of a container that has one; NONE is none."""
    check = given(config.healthcheck)
    return check if check is not None and check.test and check.test[0] != "NONE" else None


def command(check: HealthConfig, shell: Sequence[str] | UnsetType | None) -> list[str]:
    """What a probe runs; `shell` is the image's SHELL."""
    kind, *words = check.test or [""]
    return [*(given(shell) or ("/bin/sh", "-c")), *words] if kind == "CMD-SHELL" else words


def at_start(config: ContainerConfig, before: Health | None) -> Health | None:
    """The health of a container that has just been started; its log goes on over the runs."""
    if check_of(config) is None:
        return None
    return Health(log=before.log if before else ())


def after(health: Health, probe: Probe, check: HealthConfig, *, started_ns: int) -> Health:
    """The health once `probe` has ended, of a container that was started at `started_ns`."""
    health = structs.replace(health, log=(*health.log, probe)[-KEPT_PROBES:])
    if probe.code == 0:
        return structs.replace(health, status=HEALTHY, failing_streak=0)
    if health.status == STARTING and probe.began_ns - started_ns < check.start_period:
        return health
    streak = health.failing_streak + 1
    return structs.replace(
        health,
        failing_streak=streak,
        status=UNHEALTHY if streak >= (check.retries or RETRIES) else health.status,
    )


def pause_s(health: Health, check: HealthConfig, *, ran_ns: int) -> float:
    """Seconds from the end of one probe to the next, or from the start to the first."""
    interval_ns = check.interval or INTERVAL_NS
    if health.status == STARTING and ran_ns < check.start_period:
        interval_ns = check.start_interval or interval_ns
    return interval_ns / 10**9


def timeout_s(check: HealthConfig) -> float:
    """Seconds that a probe may take."""
    return (check.timeout or TIMEOUT_NS) / 10**9


def too_long(check: HealthConfig, output: str) -> str:
    """What is told of a probe that took longer."""
    text = f"Health check exceeded timeout ({go_duration(check.timeout or TIMEOUT_NS)})"
    return f"{text}: {output}" if output else text


def share_of_interval(container_id: str) -> float:
    """A part of the interval, other for each container: engines that start must not probe all at once."""
    return int(container_id[:8], 16) / 2**32


def probe_id(container_id: str, chance: str) -> str:
    """The id of a probe's exec, from 32 hex digits of chance: a later engine knows by it that nobody asks."""
    return chance + hashlib.sha256(f"probe of {container_id} {chance}".encode()).hexdigest()[:32]


def is_probe(container_id: str, exec_id: str) -> bool:
    """Whether an exec was a probe of this container."""
    return exec_id == probe_id(container_id, exec_id[:32])


def status_of(health: Health | None, *, runs: bool) -> str:
    """One of the four words; who does not run is unhealthy, "for compatibility reasons", as moby says."""
    if health is None:
        return NONE
    return health.status if runs else UNHEALTHY


def in_status(health: Health | None) -> str:
    """What `docker ps` adds behind "Up 3 minutes"."""
    match health:
        case None:
            return ""
        case Health(status="starting"):
            return " (health: starting)"
    return f" ({health.status})"


def shown(health: Health | None, *, runs: bool) -> wire.Health | None:
    """State.Health; None for a container without check, or before its first start."""
    if health is None:
        return None
    log = [
        wire.HealthcheckResult(
            rfc3339_nano(probe.began_ns), rfc3339_nano(probe.ended_ns), probe.code, probe.output
        )
        for probe in health.log
    ]
    return wire.Health(status_of(health, runs=runs), health.failing_streak, log)


class KeptOutput:
    """The first 4 KiB of what a probe says."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._more = False

    def add(self, data: bytes) -> None:
        """Keep what there is room for."""
        room = KEPT_BYTES - len(self._kept)
        self._kept += data[:room]
        self._more = self._more or len(data) > room

    @property
    def text(self) -> str:
        """With "..." where something is missing."""
        return self._kept.decode(errors="replace") + ("..." if self._more else "")
