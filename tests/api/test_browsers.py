"""Web pages cannot drive the engine through TCP."""

import pytest

from lighterman.api.browsers import refuse_browsers
from lighterman.errdefs import Forbidden


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:2375", "Origin": "http://evil.example"},
        {"Host": "localhost:2375", "Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example:2375"},
        {"Host": "evil.example"},
    ],
)
def test_a_page_is_refused_on_loopback(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        refuse_browsers(headers, "127.0.0.1", "box")


@pytest.mark.parametrize("host", ["127.0.0.1:2375", "localhost", "[::1]:80", "moby.localhost", "BOX", ""])
def test_clients_are_served_under_the_engines_own_names(host: str) -> None:
    refuse_browsers({"Host": host}, "127.0.0.1", "box")


def test_beyond_loopback_the_engine_has_names_it_does_not_know() -> None:
    refuse_browsers({"Host": "docker.example:2375"}, "192.0.2.1", "box")
    with pytest.raises(Forbidden):
        refuse_browsers({"Host": "docker.example", "Origin": "null"}, "192.0.2.1", "box")
