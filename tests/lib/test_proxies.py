"""Which proxy a request goes through."""

import pytest

from lighterman.lib.proxies import proxy_for, without_credentials

BOTH = {"HTTP_PROXY": "http://p:1", "https_proxy": "p:2"}

ASKED = [
    ("http://a/x", {}, ""),
    ("http://a/x", BOTH, "http://p:1"),
    ("https://a/x", BOTH, "http://p:2"),
    ("http://localhost/x", BOTH, ""),
    ("http://127.8.8.8:5000/x", BOTH, ""),
    ("http://[::1]:5000/x", BOTH, ""),
    ("http://a.b/x", {**BOTH, "NO_PROXY": "*"}, ""),
    ("http://a.b/x", {**BOTH, "NO_PROXY": "b"}, ""),
    ("http://ab/x", {**BOTH, "NO_PROXY": "b"}, "http://p:1"),
    ("http://a.b/x", {**BOTH, "no_proxy": "x, .b"}, ""),
    ("http://b/x", {**BOTH, "NO_PROXY": ".b"}, "http://p:1"),
    ("http://b/x", {**BOTH, "NO_PROXY": "b:81"}, "http://p:1"),
    ("http://b/x", {**BOTH, "NO_PROXY": "b:80"}, ""),
    ("http://b:81/x", {**BOTH, "NO_PROXY": "b:81"}, ""),
    ("http://10.1.2.3/x", {**BOTH, "NO_PROXY": "10.0.0.0/8"}, ""),
    ("http://10.1.2.3/x", {**BOTH, "NO_PROXY": "10.1.2.3:80"}, ""),
    ("http://11.1.2.3/x", {**BOTH, "NO_PROXY": "10.0.0.0/8,2.3"}, "http://p:1"),
    ("http://[fd00::1]/x", {**BOTH, "NO_PROXY": "fd00::/8"}, ""),
]


@pytest.mark.parametrize(("url", "environ", "proxy"), ASKED)
def test_the_environment_says_which(url: str, environ: dict[str, str], proxy: str) -> None:
    assert proxy_for(url, environ) == proxy


def test_credentials_of_a_proxy_are_not_shown() -> None:
    assert without_credentials("http://me:secret@p:1/") == "http://xxxxx:xxxxx@p:1/"
    assert without_credentials("p:1") == "p:1"
    assert without_credentials("") == ""
