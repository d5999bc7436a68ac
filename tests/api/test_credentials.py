"""Credentials in headers: what is read, and that nonsense is nobody's."""

import json
from base64 import urlsafe_b64encode

import pytest

from lighterman.api.credentials import registry_auth, registry_config
from lighterman.apitypes.registry import AuthConfig

ME = {"username": "me", "password": "secret", "serveraddress": "r.example"}


def encoded(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize("end", ["", "=="])
def test_one_registry_and_all_registries_have_a_header_each(end: str) -> None:
    me = AuthConfig(username="me", password="secret", serveraddress="r.example")
    auth, config = encoded(ME).rstrip("=") + end, encoded({"r.example": ME}).rstrip("=") + end
    assert registry_auth({"X-Registry-Auth": auth}) == me
    assert registry_config({"X-Registry-Config": config}) == {"r.example": me}


@pytest.mark.parametrize(
    "header", ["", "?", "AAAA", encoded([]), encoded({"r": 1}), encoded({"username": 1})]
)
def test_what_cannot_be_read_is_nothing(header: str) -> None:
    assert registry_auth({"X-Registry-Auth": header}) in (None, AuthConfig())
    assert registry_config({"X-Registry-Config": header}) == {}
