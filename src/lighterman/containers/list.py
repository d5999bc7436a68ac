"""Listing, with all filters of 1.36."""

import re
import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from lighterman.apitypes.container import ContainerSummary
from lighterman.containers.health import status_of
from lighterman.containers.life import Exited, Life, Paused, Running, exit_code, status
from lighterman.containers.links import names_by_links
from lighterman.containers.mounts import BindMount
from lighterman.containers.ports import exposed_ports
from lighterman.containers.state import Container, Containers
from lighterman.containers.view import networks, sandbox_of, sizes, summary
from lighterman.errdefs import InvalidParameter, NotFound
from lighterman.lib.filters import Filters

KNOWN = (
    *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation"),
    *("label", "name", "network", "publish", "since", "status", "volume"),
)
STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
HEALTHS = ("none", "starting", "healthy", "unhealthy")
NO_FILTERS = Filters()


async def list_containers(
    cs: Containers,
    *,
    all: bool = False,
    limit: int = 0,
    size: bool = False,
    filters: Filters = NO_FILTERS,
) -> list[ContainerSummary]:
    """The containers that match, newest first.

    `limit` counts stopped ones too, and so does `status`. Raises: InvalidParameter, NotFound.
    Source: ContainerList.
    """
    asked = parse(cs, filters)
    shows_all = all or limit > 0 or "status" in filters
    newest = sorted(cs, key=lambda each: each.created_ns, reverse=True)
    chosen = [each for each in newest if (shows_all or _lives(each.life)) and asked(each)]
    chosen = chosen[:limit] if limit > 0 else chosen
    now_ns, linked = time.time_ns(), names_by_links(cs, cs.find)
    return [
        summary(
            cs,
            each,
            now_ns=now_ns,
            size=await sizes(cs, each) if size else (0, 0),
            linked=linked.get(each.id, ()),
        )
        for each in chosen
    ]


Asked = Callable[[Container], bool]


def states(cs: Containers) -> tuple[int, int, int]:
    """How many run, are paused, and have no process. Source: StateCtr of moby."""
    lives = [container.life for container in cs]
    running = sum(isinstance(life, Running) for life in lives)
    paused = sum(isinstance(life, Paused) for life in lives)
    return running, paused, len(lives) - running - paused


def _lives(life: Life) -> bool:
    return status(life) in ("running", "paused", "restarting")


def parse(cs: Containers, filters: Filters) -> Asked:
    """Whether a container is asked for. Raises: InvalidParameter in Docker's words, NotFound."""
    filters.check(KNOWN)
    _check_values(filters)
    tests = list(_tests(cs, filters))
    return lambda container: all_hold(tests, container)


def all_hold(tests: list[Asked], container: Container) -> bool:
    """Several names must all match."""
    return all(test(container) for test in tests)


def _check_values(filters: Filters) -> None:
    for value in filters.get("status"):
        if value not in STATES:
            raise InvalidParameter(f"Invalid filter 'status={value}'")
    for value in filters.get("health"):
        if value not in HEALTHS:
            raise InvalidParameter(f"Unrecognised filter value for health: {value}")
    for value in filters.get("exited"):
        if not re.fullmatch(r"[+-]?\d+", value):
            raise InvalidParameter(f'strconv.Atoi: parsing "{value}": invalid syntax')


def _tests(cs: Containers, filters: Filters) -> Iterator[Asked]:
    """One test for each name that was asked for; its values are alternatives."""
    if values := filters.get("status"):
        yield lambda each: status(each.life) in values
    if codes := {int(value) for value in filters.get("exited")}:
        yield lambda each: isinstance(each.life, Exited) and exit_code(each.life) in codes
    if ids := filters.get("id"):
        yield lambda each: any(_matches(value, each.id) for value in ids)
    if names := filters.get("name"):
        yield lambda each: any(
            _matches(value, each.name) or _matches(value, f"/{each.name}") for value in names
        )
    if "label" in filters:
        yield lambda each: filters.labels(each.config.labels)
    if "ancestor" in filters:
        images = set(_image_ids(cs, filters.get("ancestor")))
        yield lambda each: not images.isdisjoint(cs.images.lineage(each.image_id))
    if "is-task" in filters:
        of_tasks = filters.flag("is-task", default=False)
        yield lambda each: each.managed is of_tasks
    if checks := filters.get("health"):
        yield lambda each: status_of(each.health, runs=each.runs) in checks
    if places := filters.get("volume"):
        yield lambda each: any(_mounts(each, value) for value in places)
    if wanted := filters.get("network"):
        yield lambda each: _is_in_network(cs, each, wanted)
    if "publish" in filters or "expose" in filters:
        public, private = _ports(filters, "publish"), _ports(filters, "expose")
        yield lambda each: _has_port(cs, each, public, private)
    for name in filters.get("before"):
        yield _Older(_known(cs, name).created_ns)
    for name in filters.get("since"):
        yield _Newer(_known(cs, name).created_ns)


class _Older(Struct, frozen=True):
    than_ns: int

    def __call__(self, container: Container) -> bool:
        return container.created_ns < self.than_ns


class _Newer(Struct, frozen=True):
    than_ns: int

    def __call__(self, container: Container) -> bool:
        return container.created_ns > self.than_ns


def _known(cs: Containers, ref: str) -> Container:
    try:
        return cs.find(ref)
    except NotFound:
        raise NotFound(f"no such container {ref}") from None


def _matches(pattern: str, text: str) -> bool:
    """A regular expression found anywhere; one that is none is compared as it is."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern == text


def _image_ids(cs: Containers, refs: tuple[str, ...]) -> Iterator[str]:
    for ref in refs:
        try:
            yield cs.images.find(ref).id
        except (NotFound, InvalidParameter):  # nothing was made from what is not there
            continue


def _mounts(container: Container, place: str) -> bool:
    """Whether `place` is one of its mounts by volume name, source or target."""
    return any(
        place in (mount.target, mount.source if isinstance(mount, BindMount) else mount.name)
        for mount in container.mounts
    )


def _is_in_network(cs: Containers, container: Container, wanted: tuple[str, ...]) -> bool:
    return any(
        name == value or (end.network_id and end.network_id.startswith(value))
        for name, end in networks(cs, container, sandbox_of(cs, container)).items()
        for value in wanted
    )


def _ports(filters: Filters, key: str) -> set[tuple[int, str]]:
    """Every (port, protocol) of "8080", "53/udp", "8000-8010"."""
    found: set[tuple[int, str]] = set()
    for value in filters.get(key):
        if ":" in value:
            raise InvalidParameter(f"filter for '{key}' should not contain ':': {value}")
        ports, _, proto = value.partition("/")
        first, dash, last = ports.partition("-")
        for part in (first, last) if dash else (first,):
            if not part.isdecimal():
                raise InvalidParameter(
                    f'error while looking up for {key} {value}: strconv.ParseUint: parsing "{part}": '
                    "invalid syntax"
                )
        if int(last or first) > 65535:
            raise InvalidParameter(f"error while looking up for {key} {value}: value out of range")
        found |= {(port, proto or "tcp") for port in range(int(first), int(last or first) + 1)}
    return found


def _has_port(
    cs: Containers, container: Container, public: set[tuple[int, str]], private: set[tuple[int, str]]
) -> bool:
    sandbox = sandbox_of(cs, container)
    exposed = set(exposed_ports(container.config)) if sandbox else set()
    exposed |= {(port.container_port, port.proto) for port in (sandbox.ports if sandbox else ())}
    reached = {(port.host_port, port.proto) for port in (sandbox.ports if sandbox else ())}
    return bool(reached & public or exposed & private)
