"""Devices of the host in a service's tasks: ours, since the API has no field for them. Pure.

They are written as for `docker run --device`, with commas between, into a label of the container: command
lines and stack files of any age can say that.
"""

from collections.abc import Mapping

from lighterman.apitypes.container import DeviceMapping
from lighterman.errdefs import InvalidParameter

DEVICES_LABEL = "lighterman.devices"


def devices(labels: Mapping[str, str]) -> list[DeviceMapping]:
    """What a task gets. Raises: InvalidParameter for what is no device."""
    return [_device(text.strip()) for text in labels.get(DEVICES_LABEL, "").split(",") if text.strip()]


def _device(text: str) -> DeviceMapping:
    """Of host[:container[:mode]] or host:mode. Source: parseLinuxDevice of the docker command line."""
    source, *more = text.split(":")
    target, mode = source, "rwm"
    if more and not _is_mode(more[0]):
        target, *more = more
    if more:
        mode, *more = more
    absolute = source.startswith("/") and target.startswith("/")
    if more or not absolute or not _is_mode(mode):
        raise InvalidParameter(f"invalid device specification: {text} (label {DEVICES_LABEL})")
    return DeviceMapping(source, target, mode)


def _is_mode(text: str) -> bool:
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")
