"""The map from each field of a container's wish to the test that looks for it in the container.

A field is written as in `fields.md` of the reference: `HostConfig.Mounts[].VolumeOptions.NoCopy`. One that
has no entry, an entry that is no field, or a test that is not there fails this module: who adds a field to
`apitypes` shows where it acts, or that it is refused.
"""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from lighterman.apitypes.container import ContainerConfig, EndpointSettings, HostConfig
from lighterman.apitypes.exec import ExecCreateBody, ExecStartBody

HERE = Path(__file__).parent
WISHES: dict[str, type[msgspec.Struct]] = {
    "Config": ContainerConfig,
    "HostConfig": HostConfig,
    "Endpoint": EndpointSettings,
    "Exec": ExecCreateBody,
    "ExecStart": ExecStartBody,
}


IN_THE_CONTAINER: dict[str, str] = {
    # limits
    "test_fields_limits.py::test_a_limit_is_in_the_kernel": """
        HostConfig.Memory HostConfig.MemorySwap HostConfig.MemoryReservation HostConfig.MemorySwappiness
        HostConfig.OomKillDisable HostConfig.CpuShares HostConfig.CpuPeriod HostConfig.CpuQuota
        HostConfig.NanoCpus HostConfig.CpusetMems HostConfig.CpuRealtimePeriod HostConfig.CpuRealtimeRuntime
        HostConfig.BlkioDeviceReadBps HostConfig.BlkioDeviceReadBps[].Path
        HostConfig.BlkioDeviceReadBps[].Rate HostConfig.BlkioDeviceWriteBps
        HostConfig.BlkioDeviceWriteBps[].Path HostConfig.BlkioDeviceWriteBps[].Rate
        HostConfig.BlkioDeviceReadIOps HostConfig.BlkioDeviceReadIOps[].Path
        HostConfig.BlkioDeviceReadIOps[].Rate HostConfig.BlkioDeviceWriteIOps
        HostConfig.BlkioDeviceWriteIOps[].Path HostConfig.BlkioDeviceWriteIOps[].Rate""",
    "test_fields_limits.py::test_cpuset_cpus_leaves_one_processor": "HostConfig.CpusetCpus",
    "test_fields_limits.py::test_pids_limit_holds_a_fork_bomb": "HostConfig.PidsLimit",
    "test_fields_limits.py::test_cgroup_parent_is_above_the_containers_cgroup": "HostConfig.CgroupParent",
    "test_fields_limits.py::test_blkio_weight_is_set_or_said_not_to_be": "HostConfig.BlkioWeight",
    "test_fields_limits.py::test_blkio_weight_of_a_device_is_set_or_said_not_to_be": """
        HostConfig.BlkioWeightDevice HostConfig.BlkioWeightDevice[].Path
        HostConfig.BlkioWeightDevice[].Weight""",
    # the process
    "test_fields_process.py::test_a_field_acts": """
        HostConfig.Ulimits HostConfig.Ulimits[].Name HostConfig.Ulimits[].Soft HostConfig.Ulimits[].Hard
        HostConfig.OomScoreAdj HostConfig.GroupAdd HostConfig.CapAdd HostConfig.CapDrop
        HostConfig.Privileged HostConfig.SecurityOpt HostConfig.Init HostConfig.Runtime
        HostConfig.Isolation HostConfig.ReadonlyRootfs HostConfig.MaskedPaths HostConfig.ReadonlyPaths""",
    "test_fields_process.py::test_user_is_taken_in_all_its_forms": "Config.User",
    "test_fields_process.py::test_what_runs_is_what_was_wished": """
        Config.Cmd Config.Entrypoint Config.Env Config.WorkingDir""",
    "test_fields_process.py::test_init_passes_the_stop_signal_on": "Config.StopSignal",
    "test_fields_process.py::test_stop_timeout_is_how_long_a_stop_waits": "Config.StopTimeout",
    "test_fields_process.py::test_a_device_is_there_with_the_rights_it_was_given": """
        HostConfig.Devices HostConfig.Devices[].PathOnHost HostConfig.Devices[].PathInContainer
        HostConfig.Devices[].CgroupPermissions""",
    "test_fields_process.py::test_a_device_rule_lets_a_node_be_used": "HostConfig.DeviceCgroupRules",
    "test_fields_process.py::test_a_terminal_has_the_size_that_was_wished_from_the_first_moment": """
        HostConfig.ConsoleSize Config.Tty""",
    "test_fields_process.py::test_annotations_reach_the_runtime": "HostConfig.Annotations",
    "test_attach.py::test_bytes_sent_early_and_a_half_close_reach_the_container": """
        Config.OpenStdin Config.StdinOnce""",
    "test_run.py::test_rm_leaves_no_container_and_no_anonymous_volume": "HostConfig.AutoRemove",
    "test_restart_policies.py::test_on_failure_tries_as_often_as_it_may": """
        HostConfig.RestartPolicy HostConfig.RestartPolicy.Name
        HostConfig.RestartPolicy.MaximumRetryCount""",
    "test_log_drivers.py::test_files_beyond_max_file_are_gone": """
        HostConfig.LogConfig HostConfig.LogConfig.Type HostConfig.LogConfig.Config""",
    "test_log_drivers.py::test_details_are_labels_variables_and_the_tag": "Config.Labels",
    # health
    "test_health.py::test_the_images_check_is_inherited_field_by_field": """
        Config.Healthcheck Config.Healthcheck.Test Config.Shell""",
    "test_health.py::test_each_probe_is_an_exec_that_is_told": "Config.Healthcheck.Interval",
    "test_health.py::test_what_takes_too_long_is_ended_with_all_it_started": "Config.Healthcheck.Timeout",
    "test_health.py::test_health_goes_from_starting_to_healthy_to_unhealthy_and_back": """
        Config.Healthcheck.Retries""",
    "test_health.py::test_failures_do_not_count_in_the_start_period": "Config.Healthcheck.StartPeriod",
    "test_health.py::test_in_the_start_period_it_is_probed_as_often_as_the_start_interval_says": """
        Config.Healthcheck.StartInterval""",
    # what surrounds it
    "test_fields_surroundings.py::test_a_field_acts": """
        Config.Hostname Config.Domainname HostConfig.ExtraHosts HostConfig.Dns HostConfig.DnsSearch
        HostConfig.DnsOptions HostConfig.ShmSize HostConfig.Tmpfs HostConfig.Sysctls""",
    "test_fields_surroundings.py::test_a_namespace_of_the_host_is_used_when_asked": """
        HostConfig.IpcMode HostConfig.PidMode HostConfig.UTSMode HostConfig.UsernsMode""",
    "test_fields_surroundings.py::test_a_cgroup_namespace_of_its_own_hides_where_it_is": """
        HostConfig.CgroupnsMode""",
    # mounts
    "test_fields_mounts.py::test_binds_are_where_and_as_they_were_wished": "HostConfig.Binds",
    "test_fields_mounts.py::test_mounts_are_where_and_as_they_were_wished": """
        HostConfig.Mounts HostConfig.Mounts[].Type HostConfig.Mounts[].Source HostConfig.Mounts[].Target
        HostConfig.Mounts[].ReadOnly HostConfig.Mounts[].Consistency HostConfig.Mounts[].VolumeOptions
        HostConfig.Mounts[].VolumeOptions.Labels HostConfig.Mounts[].VolumeOptions.DriverConfig
        HostConfig.Mounts[].VolumeOptions.DriverConfig.Name
        HostConfig.Mounts[].VolumeOptions.DriverConfig.Options HostConfig.Mounts[].TmpfsOptions
        HostConfig.Mounts[].TmpfsOptions.SizeBytes HostConfig.Mounts[].TmpfsOptions.Mode""",
    "test_fields_mounts.py::test_a_new_volume_begins_with_the_images_files_unless_told_not_to": """
        Config.Volumes HostConfig.Mounts[].VolumeOptions.NoCopy""",
    "test_fields_mounts.py::test_volumes_from_another_container_are_its_mounts": "HostConfig.VolumesFrom",
    "test_fields_mounts.py::test_what_is_mounted_later_comes_through_as_the_propagation_says": """
        HostConfig.Mounts[].BindOptions HostConfig.Mounts[].BindOptions.Propagation""",
    "test_fields_mounts.py::test_a_bind_comes_with_what_is_mounted_below_unless_it_is_told_not_to": """
        HostConfig.Mounts[].BindOptions.NonRecursive HostConfig.Mounts[].BindOptions.CreateMountpoint
        HostConfig.Mounts[].BindOptions.ReadOnlyNonRecursive
        HostConfig.Mounts[].BindOptions.ReadOnlyForceRecursive""",
    "test_fields_mounts.py::test_named_binds_and_volumes_are_of_the_driver_that_was_wished": """
        HostConfig.VolumeDriver""",
    # the network
    "test_fields_network.py::test_network_disabled_leaves_loopback_alone": "Config.NetworkDisabled",
    "test_fields_network.py::test_publish_all_ports_publishes_what_is_exposed": """
        HostConfig.PublishAllPorts Config.ExposedPorts""",
    "test_fields_network.py::test_network_mode_says_whose_network_it_is": "HostConfig.NetworkMode",
    "test_fields_network.py::test_an_end_is_as_it_was_wished": """
        Endpoint.IPAMConfig Endpoint.IPAMConfig.IPv4Address Endpoint.IPAMConfig.IPv6Address
        Endpoint.IPAMConfig.LinkLocalIPs Endpoint.Links Endpoint.Aliases Endpoint.MacAddress
        Endpoint.GwPriority""",
    "test_network_users.py::test_a_mac_is_as_wished": "Config.MacAddress",
    "test_network_users.py::test_a_link_on_the_default_bridge_is_lines_and_variables": "HostConfig.Links",
    "test_network.py::test_a_published_port_answers_on_loopback_and_on_the_hosts_addresses": """
        HostConfig.PortBindings HostConfig.PortBindings[].HostPort""",
    "test_network.py::test_a_port_published_on_loopback_stays_there": "HostConfig.PortBindings[].HostIp",
    # further processes
    "test_exec.py::test_the_streams_are_those_that_it_asks_for": """
        Exec.AttachStdin Exec.AttachStdout Exec.AttachStderr""",
    "test_exec.py::test_its_own_keys_detach_and_leave_it_running": "Exec.DetachKeys",
    "test_exec.py::test_a_terminal_is_a_terminal_of_the_clients_size": "Exec.Tty ExecStart.Tty",
    "test_exec.py::test_a_terminal_gets_the_size_that_was_wished": """
        Exec.ConsoleSize ExecStart.ConsoleSize""",
    "test_exec.py::test_it_has_the_environment_of_the_container_and_its_own": "Exec.Env",
    "test_exec.py::test_it_runs_as_and_where_it_is_told": "Exec.Cmd Exec.User Exec.WorkingDir",
    "test_exec.py::test_a_privileged_one_may_what_its_container_may_not": "Exec.Privileged",
    "test_exec.py::test_detached_answers_at_once_and_goes_on": "ExecStart.Detach",
}
ELSEWHERE: dict[str, str] = {
    # refused, or said to have no effect
    "test_fields_process.py::test_what_cannot_be_is_refused": """
        HostConfig.DeviceRequests HostConfig.DeviceRequests[].Driver HostConfig.DeviceRequests[].Count
        HostConfig.DeviceRequests[].DeviceIDs HostConfig.DeviceRequests[].Capabilities
        HostConfig.DeviceRequests[].Options HostConfig.StorageOpt HostConfig.Cgroup""",
    "test_fields_limits.py::test_a_limit_that_cannot_be_is_refused": """
        HostConfig.IOMaximumIOps HostConfig.IOMaximumBandwidth""",
    "test_fields_limits.py::test_a_limit_that_no_kernel_has_is_said_to_limit_nothing": """
        HostConfig.CpuCount HostConfig.CpuPercent HostConfig.DiskQuota HostConfig.KernelMemoryTCP""",
    "test_fields_limits.py::test_kernel_memory_is_kept_and_said_to_limit_nothing": "HostConfig.KernelMemory",
    "test_fields_network.py::test_what_cannot_be_is_refused": "Endpoint.DriverOpts",
    # a client's, or an answer's, and no wish
    "test_fields_process.py::test_what_only_clients_use_is_kept_as_it_came": """
        Config.AttachStdin Config.AttachStdout Config.AttachStderr Config.ArgsEscaped Config.Image
        Config.OnBuild HostConfig.ContainerIDFile""",
    "test_fields_network.py::test_what_an_end_only_tells_is_no_wish": """
        Endpoint.NetworkID Endpoint.EndpointID Endpoint.Gateway Endpoint.IPAddress Endpoint.IPPrefixLen
        Endpoint.IPv6Gateway Endpoint.GlobalIPv6Address Endpoint.GlobalIPv6PrefixLen Endpoint.DNSNames""",
}
TESTS = {**IN_THE_CONTAINER, **ELSEWHERE}


def fields(kind: type[msgspec.Struct], name: str) -> Iterator[str]:
    """Each field of a Struct below `name`, and those of the Structs in it."""
    for field in msgspec.structs.fields(kind):
        path = f"{name}.{field.encode_name}"
        yield path
        for inner, mark in structs_in(field.type):
            yield from fields(inner, f"{path}{mark}")


def structs_in(kind: object, mark: str = "") -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The Structs that a type is made of, "[]" behind those in lists and maps."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind, mark
    inside = "[]" if typing.get_origin(kind) in (list, dict) else mark
    for part in typing.get_args(kind):
        yield from structs_in(part, inside)


def test_each_field_has_a_test_that_looks_for_it() -> None:
    known = [path for name, kind in WISHES.items() for path in fields(kind, name)]
    looked_for = [path for paths in TESTS.values() for path in paths.split()]
    assert sorted(known) == sorted(looked_for)


@pytest.mark.parametrize("test", TESTS)
def test_the_test_is_there_and_names_its_fields(test: str) -> None:
    """Those in tables of fields by the name; the others use the command line's words for them."""
    file, _, name = test.partition("::")
    text = (HERE / "engine" / file).read_text()
    assert re.search(rf"^def {name}\(", text, re.M), test
    if file.startswith("test_fields_"):
        words = {path.rpartition(".")[2].removesuffix("[]") for path in TESTS[test].split()}
        assert not {word for word in words if not re.search(rf"\b{word}\b", text)}
