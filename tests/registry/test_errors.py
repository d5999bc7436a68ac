"""What a registry answers that is no success, in the words that clients of Docker know."""

import pytest

from lighterman.registry.agent import upstream_client, user_agent
from lighterman.registry.errors import refused


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (401, b'{"errors": [{"Code": "UNAUTHORIZED", "message": "a message"}]}', "unauthorized: a message"),
        (401, b'{"error": "unauthorized"}', "unauthorized: authentication required"),
        (
            401,
            b'{"details": "incorrect username or password"}',
            "unauthorized: incorrect username or password",
        ),
        (429, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "wait"}]}', "toomanyrequests: wait"),
        (429, b'{"details": "wait"}', "toomanyrequests: wait"),
        (403, b'{"details": "no"}', "unknown: no"),
        (403, b"no way", 'error parsing HTTP 403 response body: not JSON: "no way"'),
        (401, b"[" * 100_000, "unauthorized: authentication required"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_whoever_refuses(status: int, body: bytes, text: str) -> None:
    assert str(refused(status, "", body, None)) == text


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ("", ""),
        ("Docker-Client/20.10.24 (linux)", r" UpstreamClient(Docker-Client/20.10.24 \(linux\))"),
        ("a;b\\c\u00e4\r\nX: y", r" UpstreamClient(a\;b\\cX: y)"),
    ],
)
def test_a_registry_hears_for_which_client_we_ask(client: str, told: str) -> None:
    before = upstream_client.set(client)
    try:
        ours, _, upstream = user_agent().partition(" UpstreamClient")
    finally:
        upstream_client.reset(before)
    assert ours.startswith("docker/")
    assert (" UpstreamClient" + upstream if upstream else "") == told
