"""What an update changes, what it refuses, and what the kernel is told of it."""

import re

import pytest
from msgspec import structs
from tests.containers.values import HOST, ID, container

from lighterman.apitypes.container import (
    ContainerUpdateBody,
    HostConfig,
    RestartPolicy,
    ThrottleDevice,
    Ulimit,
)
from lighterman.containers.life import Created, Removing, Running
from lighterman.containers.update import changed_limits, check_update, plan_update
from lighterman.errdefs import Conflict, InvalidParameter
from lighterman.linux.cgroup import Limits, Throttles

MIB = 1 << 20
SWAP_RULE = (
    "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
)
NANO_RULE = "Conflicting options: {} cannot be updated as {} has already been set"

CONFLICTS = [
    (HostConfig(memory=64 * MIB, memory_swap=128 * MIB), ContainerUpdateBody(memory=300 * MIB), SWAP_RULE),
    (HostConfig(), ContainerUpdateBody(memory=64 * MIB), SWAP_RULE),
    (
        HostConfig(nano_cpus=10**9),
        ContainerUpdateBody(cpu_period=5000),
        NANO_RULE.format("CPU Period", "NanoCPUs"),
    ),
    (
        HostConfig(nano_cpus=10**9),
        ContainerUpdateBody(cpu_quota=5000),
        NANO_RULE.format("CPU Quota", "NanoCPUs"),
    ),
    (
        HostConfig(cpu_period=5000),
        ContainerUpdateBody(nano_cpus=10**9),
        NANO_RULE.format("Nano CPUs", "CPU Period"),
    ),
    (
        HostConfig(cpu_quota=5000),
        ContainerUpdateBody(nano_cpus=10**9),
        NANO_RULE.format("Nano CPUs", "CPU Quota"),
    ),
    (
        HostConfig(auto_remove=True),
        ContainerUpdateBody(restart_policy=RestartPolicy("always")),
        "Restart policy cannot be updated because AutoRemove is enabled for the container",
    ),
]


@pytest.mark.parametrize(("now", "wish", "text"), CONFLICTS)
def test_what_does_not_go_with_what_was_set_is_a_conflict(
    now: HostConfig, wish: ContainerUpdateBody, text: str
) -> None:
    with pytest.raises(Conflict, match=re.escape(f"Cannot update container {ID}: {text}")):
        plan_update(container(now), wish)


def test_a_container_that_goes_away_is_not_changed() -> None:
    with pytest.raises(Conflict, match="marked for removal"):
        plan_update(container(life=Removing(Created())), ContainerUpdateBody())


REFUSED = [
    (ContainerUpdateBody(memory=1), "Minimum memory limit allowed is 6MB"),
    (ContainerUpdateBody(memory=64 * MIB, memory_swap=32 * MIB), "Minimum memoryswap limit"),
    (ContainerUpdateBody(restart_policy=RestartPolicy("foo")), "invalid restart policy 'foo'"),
    (
        ContainerUpdateBody(restart_policy=RestartPolicy("always", 3)),
        "maximum retry count cannot be used with restart policy 'always'",
    ),
    (ContainerUpdateBody(ulimits=[Ulimit("nofile", 2, 1)]), "ulimit soft limit must be less than"),
    (ContainerUpdateBody(device_cgroup_rules=["foo"]), "invalid device cgroup rule format: 'foo'"),
    (ContainerUpdateBody(cpuset_cpus="0-99"), "Requested CPUs are not available"),
    (ContainerUpdateBody(nano_cpus=3 * 10**9), "Range of CPUs is from 0.01 to 2.00"),
]


@pytest.mark.parametrize(("wish", "text"), REFUSED)
def test_what_is_refused_when_made_is_refused_when_changed(wish: ContainerUpdateBody, text: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(text)):
        check_update(wish, HOST)


def test_what_is_decided_at_the_making_is_not_passed_over() -> None:
    with pytest.raises(InvalidParameter, match="KernelMemoryTCP cannot be changed"):
        plan_update(container(), ContainerUpdateBody(kernel_memory_tcp=1 << 20))


def test_what_a_start_sets_changes_only_while_there_is_no_process() -> None:
    wish = ContainerUpdateBody(ulimits=[Ulimit("nofile", 1, 2)], device_cgroup_rules=["c 1:3 r"])
    assert plan_update(container(), wish).ulimits == wish.ulimits
    runs = container(life=Running(7, 1))
    with pytest.raises(
        Conflict, match="DeviceCgroupRules, Ulimits cannot be changed while the container runs"
    ):
        plan_update(runs, wish)
    same = container(HostConfig(ulimits=[Ulimit("nofile", 1, 2)]), life=Running(7, 1))
    assert plan_update(same, ContainerUpdateBody(ulimits=wish.ulimits)) == same.host_config


def test_swap_alone_may_be_given_in_an_update() -> None:
    check_update(ContainerUpdateBody(memory_swap=128 * MIB), HOST)


def test_without_a_limit_of_swap_memory_may_grow() -> None:
    unlimited = container(HostConfig(memory=64 * MIB, memory_swap=-1))
    assert plan_update(unlimited, ContainerUpdateBody(memory=128 * MIB)).memory == 128 * MIB


def test_only_what_is_given_changes() -> None:
    now = container(HostConfig(cpu_shares=512, pids_limit=9, restart_policy=RestartPolicy("always")))
    changed = plan_update(now, ContainerUpdateBody(cpu_shares=256))
    assert changed == structs.replace(now.host_config, cpu_shares=256)


@pytest.mark.parametrize("number", [0, -1, -7])
def test_a_limit_of_processes_is_taken_away_by_zero_and_less(number: int) -> None:
    wish, _ = check_update(ContainerUpdateBody(pids_limit=number), HOST)
    now = container(HostConfig(pids_limit=9))
    changed = plan_update(now, wish)
    assert (changed.pids_limit, changed_limits(now.host_config, changed, wish).pids) == (0, -1)


def test_a_restart_policy_is_replaced_whole() -> None:
    now = container(HostConfig(restart_policy=RestartPolicy("on-failure", 3)))
    wish = ContainerUpdateBody(restart_policy=RestartPolicy("no"))
    assert plan_update(now, wish).restart_policy == RestartPolicy("no")


TOLD = [
    (ContainerUpdateBody(), Limits()),
    (ContainerUpdateBody(nano_cpus=5 * 10**8), Limits(cpu_quota_us=50000, cpu_period_us=100000)),
    (ContainerUpdateBody(memory=64 * MIB), Limits(memory_bytes=64 * MIB, memory_swap_bytes=256 * MIB)),
    (ContainerUpdateBody(memory_swappiness=0), Limits(memory_swappiness=0)),
    (ContainerUpdateBody(cpuset_cpus="0-1"), Limits(cpuset_cpus="0-1")),
    (ContainerUpdateBody(oom_kill_disable=False), Limits(oom_kill_disable=False)),
]


@pytest.mark.parametrize(("wish", "limits"), TOLD)
def test_the_kernel_is_told_what_was_given_and_what_follows(
    wish: ContainerUpdateBody, limits: Limits
) -> None:
    now = container(HostConfig(memory=128 * MIB, memory_swap=256 * MIB))
    assert changed_limits(now.host_config, plan_update(now, wish), wish) == limits


def test_a_device_that_is_no_longer_listed_is_let_go() -> None:
    now = HostConfig(
        blkio_device_read_bps=[ThrottleDevice("/dev/null", 5), ThrottleDevice("/dev/gone", 5)],
        blkio_device_write_iops=[ThrottleDevice("/dev/null", 5)],
    )
    wish = ContainerUpdateBody(blkio_device_read_bps=[ThrottleDevice("/dev/zero", 7)])
    limits = changed_limits(now, now, wish)
    assert limits.throttles == Throttles(read_bps={"1:3": 0, "1:5": 7})


def test_a_device_that_is_not_there_is_refused() -> None:
    wish = ContainerUpdateBody(blkio_device_read_bps=[ThrottleDevice("/dev/nope", 7)])
    with pytest.raises(InvalidParameter, match="stat /dev/nope: no such file or directory"):
        changed_limits(HostConfig(), HostConfig(), wish)
