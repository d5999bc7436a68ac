"""Changing limits, the restart policy and published ports of a container, also while it runs.

What is wished is the difference: zero, "" and null are "not given". `plan_update` is pure; then the kernel is
asked, whose refusal changes nothing, and the record is last.
"""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TypeAlias

from msgspec import UNSET, structs

from lighterman.apitypes.container import (
    ContainerUpdateBody,
    ContainerUpdateResponse,
    HostConfig,
    PortBinding,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from lighterman.containers.ending import is_at_rest
from lighterman.containers.host_devices import device_numbers
from lighterman.containers.life import Removing
from lighterman.containers.limits import check_limits, check_ulimit
from lighterman.containers.plan_create import check_restart_policy
from lighterman.containers.ports import port_wishes
from lighterman.containers.spec import cpu_quota
from lighterman.containers.state import Container, Containers
from lighterman.errdefs import Conflict, InvalidParameter, System
from lighterman.lib.effects import in_thread, rollback
from lighterman.linux.cgroup import REALTIME_PERIOD_US, Limits, Throttles, grant_realtime
from lighterman.linux.host import Host
from lighterman.oci.devices import device_rules
from lighterman.runtime import ProcessGone

Limited: TypeAlias = ThrottleDevice | WeightDevice

CHANGEABLE = (
    *("cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpu_realtime_period", "cpu_realtime_runtime"),
    *("cpuset_cpus", "cpuset_mems", "memory", "memory_swap", "memory_reservation", "memory_swappiness"),
    *("kernel_memory", "oom_kill_disable", "pids_limit", "blkio_weight", "blkio_weight_device"),
    *("blkio_device_read_bps", "blkio_device_write_bps", "blkio_device_read_iops", "blkio_device_write_iops"),
)
"""moby passes over MemorySwappiness, OomKillDisable and the devices, although the body has them."""

AT_REST = {
    "cgroup_parent": "CgroupParent",
    "devices": "Devices",
    "device_cgroup_rules": "DeviceCgroupRules",
    "ulimits": "Ulimits",
}
"""What a start sets, by the names of the API: it can change while there is no process."""

FIXED = {"device_requests": "DeviceRequests", "kernel_memory_tcp": "KernelMemoryTCP"}
"""What is decided when a container is made. moby takes these and those of `AT_REST`, and forgets them."""


async def update(cs: Containers, ref: str, body: ContainerUpdateBody) -> ContainerUpdateResponse:
    """Change what the body names: all of it or nothing.

    Raises: InvalidParameter, NoSuchContainer, Conflict, System. Source: ContainerUpdate.
    """
    wish, warnings = check_update(body, cs.host)
    async with cs.locked(ref) as container:
        changed = plan_update(container, wish)
        limits = await in_thread(changed_limits, container.host_config, changed, wish)
        async with rollback() as undo:
            if container.runs:
                undo.push_async_callback(in_thread, await in_thread(_set, cs, container, limits))
                await _publish(cs, container, changed, undo)
            container = await cs.record(container, host_config=changed)
    cs.publish(container, "update")
    return ContainerUpdateResponse(warnings or None)


def check_update(body: ContainerUpdateBody, host: Host) -> tuple[ContainerUpdateBody, list[str]]:
    """The wish as this host can hold it, and a warning for each limit that it cannot. Pure.

    Raises: InvalidParameter in Docker's words, whatever container it is for.
    """
    if body.restart_policy.name:
        check_restart_policy(body.restart_policy, auto_remove=False)
    for ulimit in body.ulimits or ():
        check_ulimit(ulimit)
    device_rules(body.device_cgroup_rules)
    if body.pids_limit is not None and body.pids_limit <= 0:
        body = structs.replace(body, pids_limit=0)  # any such number is no limit
    return check_limits(body, host, update=True)


def plan_update(container: Container, wish: ContainerUpdateBody) -> HostConfig:
    """What the container is asked to be from now on. Pure.

    Raises: Conflict in Docker's words, InvalidParameter. Source: UpdateContainer of moby.
    """
    if isinstance(container.life, Removing):
        raise _cannot(container.id, 'container is marked for removal and cannot be "update"')
    now, policy = container.host_config, wish.restart_policy
    if conflict := _conflict(now, wish):
        raise _cannot(container.id, conflict)
    for name, shown in FIXED.items():
        if _differs(now, wish, name):
            raise InvalidParameter(f"Cannot update container {container.id}: {shown} cannot be changed")
    at_rest = {name: getattr(wish, name) for name in AT_REST if _differs(now, wish, name)}
    if at_rest and not is_at_rest(container):
        shown = ", ".join(AT_REST[name] for name in at_rest)
        raise _cannot(container.id, f"{shown} cannot be changed while the container runs: stop it first")
    return structs.replace(
        now,
        **dict(_given(wish)),
        **at_rest,
        restart_policy=policy if policy.name else now.restart_policy,
        port_bindings=_bindings(container, wish),
    )


def _differs(now: HostConfig, wish: Resources, name: str) -> bool:
    """Whether a field is given and something else than before: some clients send all that they know."""
    return bool(getattr(wish, name)) and getattr(wish, name) != getattr(now, name)


def _conflict(now: HostConfig, wish: ContainerUpdateBody) -> str:
    """What of the wish does not go with what was set; "" when all does."""
    for given, taken, text in (
        (wish.nano_cpus, now.cpu_period, "Nano CPUs cannot be updated as CPU Period has already been set"),
        (wish.nano_cpus, now.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        (wish.cpu_period, now.nano_cpus, "CPU Period cannot be updated as NanoCPUs has already been set"),
        (wish.cpu_quota, now.nano_cpus, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if given > 0 and taken > 0:
            return f"Conflicting options: {text}"
    if wish.memory > now.memory_swap != -1 and wish.memory_swap == 0:
        return (
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    if wish.restart_policy.name not in ("", "no") and now.auto_remove:
        return "Restart policy cannot be updated because AutoRemove is enabled for the container"
    return ""


def _bindings(container: Container, wish: ContainerUpdateBody) -> dict[str, list[PortBinding] | None] | None:
    """What is published from now on; what cannot be published is refused."""
    now = container.host_config
    if wish.port_bindings is UNSET:
        return now.port_bindings
    if now.network_mode.startswith("container:"):
        raise InvalidParameter("conflicting options: port publishing and the container type network mode")
    port_wishes(container.config, structs.replace(now, port_bindings=wish.port_bindings))
    return wish.port_bindings


async def _publish(cs: Containers, container: Container, changed: HostConfig, undo: AsyncExitStack) -> None:
    """Publish other ports of a container that runs."""
    former, wanted = (port_wishes(container.config, each) for each in (container.host_config, changed))
    if former != wanted and changed.network_mode != "host":
        undo.push_async_callback(cs.networks.republish, container.id, former)
        await cs.networks.republish(container.id, wanted)


def _given(wish: Resources) -> Iterator[tuple[str, object]]:
    """The fields that are to change: an empty list is a wish too."""
    for name in CHANGEABLE:
        value = getattr(wish, name)
        said_zero = isinstance(value, list | bool) or name in ("pids_limit", "memory_swappiness")
        if value is not None and (value or said_zero):
            yield name, value


def changed_limits(now: HostConfig, changed: HostConfig, wish: Resources) -> Limits:
    """What the kernel is to be told: what was given, and what follows from it. Looks devices up: blocks.

    Raises: InvalidParameter for a device that is not there.
    """
    quota, period = cpu_quota(wish)
    swap = changed.memory_swap if wish.memory or wish.memory_swap else 0
    return Limits(
        memory_bytes=wish.memory or None,
        memory_swap_bytes=swap or None,  # v2 keeps swap alone: it changes with memory
        memory_reservation_bytes=wish.memory_reservation or None,
        memory_swappiness=wish.memory_swappiness,
        oom_kill_disable=wish.oom_kill_disable,
        cpu_shares=wish.cpu_shares or None,
        cpu_quota_us=quota,
        cpu_period_us=period,
        realtime_period_us=wish.cpu_realtime_period or None,
        realtime_runtime_us=wish.cpu_realtime_runtime or None,
        cpuset_cpus=wish.cpuset_cpus or None,
        cpuset_mems=wish.cpuset_mems or None,
        pids=-1 if wish.pids_limit == 0 else wish.pids_limit,
        blkio_weight=wish.blkio_weight or None,
        blkio_weight_device=_replaced(now.blkio_weight_device, wish.blkio_weight_device),
        throttles=Throttles(
            read_bps=_replaced(now.blkio_device_read_bps, wish.blkio_device_read_bps),
            write_bps=_replaced(now.blkio_device_write_bps, wish.blkio_device_write_bps),
            read_iops=_replaced(now.blkio_device_read_iops, wish.blkio_device_read_iops),
            write_iops=_replaced(now.blkio_device_write_iops, wish.blkio_device_write_iops),
        ),
    )


def _replaced(now: Sequence[Limited] | None, wish: Sequence[Limited] | None) -> Mapping[str, int]:
    """The limits of the new list, by device; what only the old one had is let go."""
    if wish is None:
        return {}
    limits: dict[str, int] = {}
    for old in now or ():
        with suppress(InvalidParameter):  # unplugged since
            limits["{}:{}".format(*device_numbers(old.path))] = 0
    for new in wish:
        value = new.weight if isinstance(new, WeightDevice) else new.rate
        limits["{}:{}".format(*device_numbers(new.path))] = value
    return limits


def _set(cs: Containers, container: Container, limits: Limits) -> Callable[[], None]:
    """Tell the kernel; the answer takes it back. Blocks. Raises: Conflict, InvalidParameter, System."""
    try:
        cgroup = cs.runtime.cgroup(container.id)
        if limits.realtime_runtime_us or limits.realtime_period_us:
            now = container.host_config
            runtime_us = limits.realtime_runtime_us or now.cpu_realtime_runtime
            period_us = limits.realtime_period_us or now.cpu_realtime_period or REALTIME_PERIOD_US
            grant_realtime(cs.host.cgroup, cgroup.path, runtime_us=runtime_us, period_us=period_us)
        return cgroup.set_limits(limits)
    except ProcessGone:  # it has just ended: the next run has the new limits
        return lambda: None
    except OSError as error:
        kind = {errno.EBUSY: Conflict, errno.EINVAL: InvalidParameter, errno.ERANGE: InvalidParameter}
        text = f"Cannot update container {container.id}: {error.filename}: {error.strerror}"
        raise kind.get(error.errno or 0, System)(text) from error


def _cannot(container_id: str, why: str) -> Conflict:
    return Conflict(f"Cannot update container {container_id}: {why}")
