"""A registry that can be reached through a proxy only: by the engine and by its workers."""

import gzip
from pathlib import Path

import pytest
from tests.images.shelf import config, digest, heard, layer, opened
from tests.registry.server import Handler, serving

from lighterman.registry import Registry

HOST = "registry.test"


class Proxy(Handler):
    """What is asked of HOST is answered here; there is no way through to TLS."""

    def do_GET(self) -> None:
        assert self.path.startswith(f"http://{HOST}/"), self.path
        assert self.headers["Proxy-Authorization"] == "Basic bWU6c2VjcmV0"
        self.path = self.path.removeprefix(f"http://{HOST}")
        super().do_GET()

    def do_CONNECT(self) -> None:
        self.send_error(502)


async def test_the_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        server.RequestHandlerClass = Proxy
        raw = config(layer("f"))
        server.put(raw, [gzip.compress(layer("f"))], "1")
        proxy = f"http://me:secret@{server.host}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy)
        async with opened(tmp_path / "root", registry=Registry(insecure=(HOST,))) as shelf:
            messages = await heard(await shelf.images.pull(f"{HOST}/x", "1"))
            assert not isinstance(messages[-1].error, str), messages[-1].error
            assert shelf.images.find(f"{HOST}/x:1").id == digest(raw)
