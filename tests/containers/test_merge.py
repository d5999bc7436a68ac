"""A wish is completed by the image, as moby's merge does it."""

import pytest
from msgspec import UNSET

from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.containers.merge import merge

SH, LS, RUN = ["sh"], ["ls"], ["/run"]


@pytest.mark.parametrize(
    ("wish", "image", "merged"),
    [  # each is (entrypoint, cmd)
        ((None, None), (RUN, LS), (RUN, LS)),
        ((None, SH), (RUN, LS), (RUN, SH)),
        ((["/mine"], None), (RUN, LS), (["/mine"], None)),
        ((["/mine"], SH), (RUN, LS), (["/mine"], SH)),
        (([""], None), (RUN, LS), (None, None)),
        (([""], SH), (RUN, LS), (None, SH)),
        (([], SH), (RUN, LS), ([], SH)),
    ],
)
def test_an_entrypoint_of_the_client_takes_the_images_command_away(
    wish: tuple[list[str] | None, ...], image: tuple[list[str], ...], merged: tuple[list[str] | None, ...]
) -> None:
    found = merge(
        ContainerConfig(entrypoint=wish[0], cmd=wish[1]), ContainerConfig(entrypoint=image[0], cmd=image[1])
    )
    assert (found.entrypoint, found.cmd) == merged


def test_variables_are_merged_by_name_and_the_clients_come_first() -> None:
    wish, image = ContainerConfig(env=["A=1", "B"]), ContainerConfig(env=["A=0", "B=0", "PATH=/bin"])
    assert merge(wish, image).env == ["A=1", "B", "PATH=/bin"]
    assert merge(ContainerConfig(), image).env == image.env


def test_labels_ports_and_volumes_are_joined() -> None:
    image = ContainerConfig(labels={"a": "0", "b": "0"}, exposed_ports={"80/tcp": {}}, volumes={"/v": {}})
    wish = ContainerConfig(labels={"a": "1"}, exposed_ports={"81/tcp": {}}, volumes={"/w": {}})
    found = merge(wish, image)
    assert found.labels == {"a": "1", "b": "0"}
    assert found.exposed_ports == {"80/tcp": {}, "81/tcp": {}}
    assert found.volumes == {"/v": {}, "/w": {}}


def test_nothing_stays_what_it_was_on_the_wire() -> None:
    found = merge(ContainerConfig(), ContainerConfig())
    assert (found.labels, found.exposed_ports, found.volumes, found.env) == ({}, UNSET, None, None)


def test_a_health_check_is_inherited_field_by_field() -> None:
    image = ContainerConfig(healthcheck=HealthConfig(test=["CMD", "a"], retries=3, interval=5))
    found = merge(ContainerConfig(healthcheck=HealthConfig(retries=1)), image).healthcheck
    assert found == HealthConfig(test=["CMD", "a"], retries=1, interval=5)


def test_user_directory_and_signal_of_the_client_win() -> None:
    image = ContainerConfig(user="a", working_dir="/a", stop_signal="INT")
    assert merge(ContainerConfig(), image) == merge(image, ContainerConfig())
    found = merge(ContainerConfig(user="b", working_dir="/b", stop_signal="TERM"), image)
    assert (found.user, found.working_dir, found.stop_signal) == ("b", "/b", "TERM")
