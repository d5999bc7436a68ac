"""A container's configuration: what the client wished over what the image says. Pure."""

from collections.abc import Mapping
from typing import TypeVar

from msgspec import UNSET, UnsetType, structs

from lighterman.apitypes.container import ContainerConfig, HealthConfig

T = TypeVar("T")


def given(value: T | UnsetType | None) -> T | None:
    """`value`, or None where the wire had nothing or null."""
    return None if isinstance(value, UnsetType) else value


def merge(wish: ContainerConfig, image: ContainerConfig) -> ContainerConfig:
    """The wish, completed by the image's configuration.

    The image's command counts only when neither command nor entrypoint were given; an entrypoint of [""]
    takes the image's away. Source: merge of moby's daemon/commit.go, 20.10.
    """
    entrypoint, cmd = wish.entrypoint, wish.cmd
    if not entrypoint:
        cmd = cmd or image.cmd
        entrypoint = image.entrypoint if entrypoint is None else entrypoint
    if entrypoint == [""]:
        entrypoint = None
    return structs.replace(
        wish,
        user=wish.user or image.user,
        exposed_ports=_joined(given(image.exposed_ports), given(wish.exposed_ports), wish.exposed_ports),
        env=_merged_env(wish.env, image.env),
        labels={**(image.labels or {}), **(wish.labels or {})},
        entrypoint=entrypoint,
        cmd=cmd,
        healthcheck=_merged_check(wish.healthcheck, image.healthcheck),
        working_dir=wish.working_dir or image.working_dir,
        volumes={**(image.volumes or {}), **(wish.volumes or {})} or wish.volumes or image.volumes,
        stop_signal=given(wish.stop_signal) or image.stop_signal,
    )


def _joined(
    image: Mapping[str, T] | None, wish: Mapping[str, T] | None, otherwise: dict[str, T] | UnsetType | None
) -> dict[str, T] | UnsetType | None:
    return {**(image or {}), **(wish or {})} or otherwise


def _merged_env(wish: list[str] | None, image: list[str] | None) -> list[str] | None:
    if not wish:
        return image
    own = {variable.partition("=")[0] for variable in wish}
    return [*wish, *(each for each in image or () if each.partition("=")[0] not in own)]


def _merged_check(
    wish: HealthConfig | UnsetType | None, image: HealthConfig | UnsetType | None
) -> HealthConfig | UnsetType | None:
    """Field by field: what is zero is inherited."""
    own, inherited = given(wish), given(image)
    if own is None or inherited is None:
        return own or inherited or UNSET
    return HealthConfig(
        test=own.test or inherited.test,
        interval=own.interval or inherited.interval,
        timeout=own.timeout or inherited.timeout,
        start_period=own.start_period or inherited.start_period,
        retries=own.retries or inherited.retries,
        start_interval=own.start_interval or inherited.start_interval,
    )
