"""Images behind a password, a certificate or a token server, and builds that stand on them."""

import json
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.registry.secured import docker_registry, htpasswd, identity, tls, token_server
from tests.support.cli import DockerCLI
from tests.support.contexts import context
from tests.support.engines import Daemon
from tests.support.http import Http
from tests.support.net import HOST_ADDRESS

CERTS_D = Path("/etc/docker/certs.d")
ME = {"username": "me", "password": "secret"}


@pytest.fixture(autouse=True)
def _only_busybox_stays(engine: Daemon) -> Iterator[None]:
    yield
    engine.clean()
    engine.forget_images()
    (engine.root / "cli/config.json").unlink(missing_ok=True)


@pytest.fixture
def secured(engine: Daemon, tmp_path: Path) -> Iterator[str]:
    """A registry with a certificate of its own that lets in `me`. No loopback: there none is looked at."""
    who = identity("registry", HOST_ADDRESS)
    http, auth = tls(tmp_path / "r", who), htpasswd(tmp_path / "r")
    there = [path for path in (CERTS_D, CERTS_D.parent) if path.exists()]
    with docker_registry(tmp_path / "r", net=engine.net, address=HOST_ADDRESS, http=http, auth=auth) as host:
        (CERTS_D / host).mkdir(parents=True)
        (CERTS_D / host / "ca.crt").write_bytes(who.pem)
        yield host
        shutil.rmtree(CERTS_D / host)
        for path in (CERTS_D, CERTS_D.parent):
            if path not in there:
                path.rmdir()


def built(http: Http, image: str, auths: Mapping[str, object]) -> str:
    """What a build on `image` says, when the client has these credentials."""
    headers = {"X-Registry-Config": urlsafe_b64encode(json.dumps(auths).encode()).decode()}
    answer = http("POST", "/build?pull=1", context(f"FROM {image}\nLABEL a=b\n"), headers)
    return answer.body.decode()


def test_a_password_is_proved_and_used_for_all_that_goes_by_the_registry(
    docker: DockerCLI, http: Http, secured: str, tmp_path: Path
) -> None:
    image = f"{secured}/private:1"
    wrong = docker("login", "-u", "me", "--password-stdin", secured, stdin=b"wrong", check=False)
    assert "401 Unauthorized" in wrong.stderr
    docker("tag", "busybox", image)
    assert "no basic auth credentials" in docker("push", image, check=False).stderr
    docker("login", "-u", "me", "--password-stdin", secured, stdin=b"secret")
    docker("push", image)
    docker("rmi", image)
    docker("pull", "-q", image)
    docker("rmi", image)
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nLABEL a=b\n")
    assert "Successfully tagged made:1" in docker("build", "-t", "made:1", tmp_path).stdout
    docker("rmi", "made:1", image)
    docker("logout", secured)
    assert "no basic auth credentials" in docker("build", tmp_path, check=False).stderr
    others = {"https://127.0.0.1:1": {"username": "x", "password": "y"}}
    assert "Successfully built" in built(http, image, {**others, f"https://{secured}/v2/": ME})
    assert "no basic auth credentials" in built(http, image, others)
    assert "unauthorized" in built(http, image, {secured: {**ME, "password": "wrong"}})


def test_a_base_comes_by_a_token_that_is_fetched_for_it(
    engine: Daemon, docker: DockerCLI, http: Http, tmp_path: Path
) -> None:
    with (
        token_server(engine.net.listen(("127.0.0.1", 0))) as tokens,
        docker_registry(tmp_path / "r", net=engine.net, auth=tokens.settings(tmp_path / "r")) as host,
    ):
        image = f"{host}/tokens:1"
        docker("login", "-u", "me", "--password-stdin", host, stdin=b"secret")
        docker("tag", "busybox", image)
        docker("push", image)
        docker("rmi", image)
        assert "Successfully built" in built(http, image, {host: ME})
        assert tokens.asked[-1][1]["scope"] == ["repository:tokens:pull"]
        assert tokens.asked[-1][1]["account"] == ["me"]
        docker("rmi", image)
        assert "Successfully built" in built(http, image, {host: {"identitytoken": "refresh-me"}})
        method, asked = tokens.asked[-1]
        assert (method, asked["refresh_token"], asked["scope"]) == (
            "POST",
            ["refresh-me"],
            ["repository:tokens:pull"],
        )
        assert "unauthorized" in built(http, image, {host: {"identitytoken": "gone"}})
