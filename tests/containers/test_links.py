"""Links to containers of the default bridge."""

import pytest
from msgspec import structs
from tests.containers.values import container

from lighterman.apitypes.container import EndpointSettings
from lighterman.containers.life import Running
from lighterman.containers.links import Link, check_link, names_of, parse_link, variables
from lighterman.containers.state import Container
from lighterman.errdefs import Conflict, InvalidParameter


@pytest.mark.parametrize(
    ("text", "link"),
    [("db:store", ("db", "store")), ("db", ("db", "db")), ("/db:/web/store", ("db", "store"))],
)
def test_a_link_has_a_name_and_an_alias(text: str, link: tuple[str, str]) -> None:
    assert parse_link(text) == link


@pytest.mark.parametrize("text", ["", ":a", "a:", "a:b:c"])
def test_a_link_without_two_names_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"bad format for links|empty string specified"):
        parse_link(text)


def other(**config: object) -> Container:
    made = container(name="db")
    return structs.replace(made, config=structs.replace(made.config, **config))


def test_the_variables_tell_ports_ranges_and_the_others_environment() -> None:
    exposed: dict[str, object] = {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}, "53/udp": {}}
    link = Link(other(exposed_ports=exposed, env=["PASS=x", "PATH=/bin"]), "the-db")
    told = list(variables(link, "web", "172.17.0.2"))
    assert told[0] == "THE_DB_PORT=tcp://172.17.0.2:80"
    assert "THE_DB_PORT_81_TCP_ADDR=172.17.0.2" in told
    assert "THE_DB_PORT_80_TCP_PORT_END=82" in told
    assert "THE_DB_PORT_53_UDP=udp://172.17.0.2:53" in told
    assert not any("_53_UDP_START" in each for each in told)
    assert told[-2:] == ["THE_DB_NAME=/web/the-db", "THE_DB_ENV_PASS=x"]


def test_a_line_of_hosts_names_everything_once() -> None:
    assert names_of(Link(other(hostname="h"), "db")) == "db h"


def test_a_link_wants_the_other_to_run() -> None:
    there = structs.replace(other(), endpoints={"bridge": EndpointSettings()})
    link = Link(there, "db")
    with pytest.raises(Conflict, match="Cannot link to a non running container: /db AS /web/db"):
        check_link(link, container(name="web"))
    check_link(Link(structs.replace(link.container, life=Running(7, 1)), "db"), container(name="web"))


def test_a_link_wants_the_other_in_the_default_network() -> None:
    elsewhere = structs.replace(other(), endpoints={"mine": EndpointSettings()})
    with pytest.raises(Conflict, match="Cannot link to /db, as it does not belong to the default network"):
        check_link(Link(elsewhere, "db"), container(name="web"))
