"""The spelling of the specification, where Python's would give another."""

import json

import msgspec
import pytest

from lighterman.oci.spec import (
    CPU,
    RWM,
    BlockIO,
    DeviceRule,
    IDMapping,
    IntelRdt,
    IOPriority,
    Linux,
    LinuxSeccomp,
    Memory,
    Network,
    Pids,
    Process,
    Resources,
    Rlimit,
    Spec,
    Struct,
    ThrottleDevice,
    User,
    encode,
)

DEVICE = (ThrottleDevice(major=8, minor=0, rate=5),)
SPELLINGS: list[tuple[Struct, dict[str, object]]] = [
    (IDMapping(container_id=0, host_id=1, size=2), {"containerID": 0, "hostID": 1, "size": 2}),
    (
        Memory(limit=0, kernel_tcp=1, disable_oom_killer=False, swappiness=60),
        {"limit": 0, "kernelTCP": 1, "disableOOMKiller": False, "swappiness": 60},
    ),
    (CPU(shares=2, quota=-1, realtime_runtime=3), {"shares": 2, "quota": -1, "realtimeRuntime": 3}),
    (
        BlockIO(throttle_read_bps_device=DEVICE, throttle_write_iops_device=DEVICE),
        {
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}],
        },
    ),
    (Resources(block_io=BlockIO(weight=10)), {"blockIO": {"weight": 10}}),
    (Network(class_id=7), {"classID": 7}),
    (IntelRdt(clos_id="x", l3_cache_schema="y"), {"closID": "x", "l3CacheSchema": "y"}),
    (IOPriority(class_="IOPRIO_CLASS_BE", priority=4), {"class": "IOPRIO_CLASS_BE", "priority": 4}),
    (Linux(cgroups_path="/docker/x"), {"cgroupsPath": "/docker/x"}),
    (User(uid=0, gid=0, additional_gids=(1,)), {"uid": 0, "gid": 0, "additionalGids": [1]}),
    (Rlimit(type="RLIMIT_NOFILE", hard=0, soft=0), {"type": "RLIMIT_NOFILE", "hard": 0, "soft": 0}),
    (DeviceRule(allow=False, access=RWM), {"allow": False, "access": "rwm"}),
    (Pids(limit=-1), {"limit": -1}),
]


@pytest.mark.parametrize(("value", "said"), SPELLINGS, ids=lambda value: type(value).__name__)
def test_names_are_the_specifications_and_what_is_not_wanted_is_left_out(
    value: Struct, said: dict[str, object]
) -> None:
    assert json.loads(msgspec.json.encode(value)) == said


def test_a_whole_configuration_is_json() -> None:
    process = Process(user=User(uid=0, gid=0), args=("true",), cwd="/", no_new_privileges=True)
    assert json.loads(encode(Spec(oci_version="1.0.2", process=process, hostname="h"))) == {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "noNewPrivileges": True},
        "hostname": "h",
    }


def test_a_filter_encodes_to_the_same_bytes_each_time() -> None:
    assert encode(LinuxSeccomp(default_action="SCMP_ACT_ERRNO")) == b'{"defaultAction":"SCMP_ACT_ERRNO"}'
