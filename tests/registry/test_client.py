"""The client against a registry in this process: credentials, texts, and lies."""

from collections.abc import Iterator

import pytest
from tests.registry.server import MANIFEST, Registry, digest, serving

from lighterman.apitypes.registry import AuthConfig, Descriptor
from lighterman.errdefs import EngineError, NotFound, System, Unauthorized
from lighterman.reference import Reference, parse_reference
from lighterman.registry import Registry as Client
from lighterman.registry import RegistryError, chosen
from lighterman.registry.auth import Challenge, basic, credentials, parse_challenges
from lighterman.registry.endpoints import Endpoints

ME = AuthConfig(username="me", password="secret")
BEARER = 'Bearer realm="http://{}/token",service="s",scope="repository:x:pull"'


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        registry.put(b"{}", [b"layer"], "1")
        yield registry


async def manifest(registry: Registry, auth: AuthConfig | None = None, *, tag: str = "1") -> bytes:
    async with Client().open(Reference(registry.host, "x"), auth) as repository:
        return (await repository.manifest(tag)).raw


async def test_a_manifest_has_the_digest_of_its_bytes(registry: Registry) -> None:
    async with Client().open(Reference(registry.host, "x"), None) as repository:
        fetched = await repository.manifest("1")
    assert (fetched.digest, fetched.media_type) == (digest(fetched.raw), MANIFEST)


async def test_a_manifest_of_another_digest_is_refused(registry: Registry) -> None:
    wanted = digest(b"another")
    registry.manifests[wanted] = registry.manifests["1"]
    with pytest.raises(RegistryError, match=f"^manifest verification failed for digest {wanted}$"):
        await manifest(registry, tag=wanted)


async def test_a_configuration_of_another_digest_is_refused(registry: Registry) -> None:
    wanted = digest(b"{}")
    registry.blobs[wanted] = b"[]"
    async with Client().open(Reference(registry.host, "x"), None) as repository:
        with pytest.raises(RegistryError, match="image config verification failed"):
            await repository.blob(Descriptor("", wanted, 2))


async def test_more_than_was_announced_is_not_read(registry: Registry) -> None:
    async with Client().open(Reference(registry.host, "x"), None) as repository:
        with pytest.raises(RegistryError, match="more than 1 bytes"):
            await repository.blob(Descriptor("", digest(b"{}"), 1))


async def test_a_password_is_given_to_who_asks_for_one(registry: Registry) -> None:
    registry.challenge, registry.welcome = 'Basic realm="r"', {basic("me", "secret")}
    assert await manifest(registry, ME)
    encoded = AuthConfig(auth="bWU6c2VjcmV0")
    assert await manifest(registry, encoded)


async def test_without_a_password_the_text_is_dockers(registry: Registry) -> None:
    registry.challenge = 'Basic realm="r"'
    with pytest.raises(System) as refused:
        await manifest(registry)
    said = f'Get "http://{registry.host}/v2/x/manifests/1": no basic auth credentials'
    assert str(refused.value) == said


async def test_a_wrong_password_is_unauthorized(registry: Registry) -> None:
    registry.challenge = 'Basic realm="r"'
    with pytest.raises(Unauthorized, match=r"^unauthorized: authentication required$"):
        await manifest(registry, ME)


@pytest.mark.parametrize("auth", [None, ME])
async def test_a_token_is_fetched_for_the_repository(registry: Registry, auth: AuthConfig | None) -> None:
    registry.challenge, registry.welcome = BEARER.format(registry.host), {"Bearer t"}
    registry.tokens = {basic("me", "secret") if auth else "": {"token": "t"}}
    assert await manifest(registry, auth)
    asked = next(path for path, _ in registry.asked if path.startswith("/token"))
    assert asked == f"/token?scope=repository:x:pull&service=s{'&account=me' if auth else ''}"


async def test_a_token_that_has_aged_is_fetched_anew(registry: Registry) -> None:
    registry.challenge, registry.welcome = BEARER.format(registry.host), {"Bearer t"}
    registry.tokens = {"": {"access_token": "t"}}
    async with Client().open(Reference(registry.host, "x"), None) as repository:
        registry.welcome, registry.tokens = {"Bearer u"}, {"": {"token": "u"}}
        assert await repository.manifest("1")


async def test_a_token_server_without_a_token_is_an_error(registry: Registry) -> None:
    registry.challenge = BEARER.format(registry.host)
    with pytest.raises(RegistryError, match="did not include a token"):
        await manifest(registry)


async def test_what_is_not_there_is_said_in_dockers_words(registry: Registry) -> None:
    with pytest.raises(NotFound) as missing:
        await manifest(registry, tag="nope")
    assert (
        str(missing.value) == f"manifest for {registry.host}/x not found: manifest unknown: manifest unknown"
    )


UNREACHABLE = [
    ("127.0.0.1:1", 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'),
    ("nobody.invalid", 'Get "https://nobody.invalid/v2/": dial tcp: lookup nobody.invalid: no such host'),
]


@pytest.mark.parametrize(("host", "said"), UNREACHABLE)
async def test_nobody_there_is_said_in_dockers_words(host: str, said: str) -> None:
    with pytest.raises(EngineError) as failed:
        async with Client().open(Reference(host, "x"), None):
            pass
    assert str(failed.value) == said


INSECURE = [
    ("127.0.0.1:5000", True),
    ("127.8.9.10", True),
    ("localhost:5000", True),
    ("[::1]:5000", True),
    ("10.0.0.1:5000", True),
    ("my.host:5000", True),
    ("my.host", False),
    ("10.1.0.1", False),
    ("docker.io", False),
]


@pytest.mark.parametrize(("host", "insecure"), INSECURE)
def test_only_what_was_said_to_be_is_insecure(host: str, *, insecure: bool) -> None:
    known = Endpoints(insecure=("127.0.0.0/8", "::1/128", "10.0.0.0/24", "my.host:5000"))
    assert known.is_insecure(host) is insecure


def test_challenges_are_read_with_their_commas() -> None:
    text = 'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"'
    (challenge,) = parse_challenges([text])
    assert challenge == Challenge(
        "bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"}
    )
    assert parse_challenges(['Basic realm="r"', "Negotiate"])[0].scheme == "basic"


@pytest.mark.parametrize("auth", [None, AuthConfig(), AuthConfig(auth="?"), AuthConfig(auth="bWU=")])
def test_no_credentials_are_none(auth: AuthConfig | None) -> None:
    assert credentials(auth) is None


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(ME)


MINE, THEIRS = AuthConfig(username="me"), AuthConfig(username="they")
CHOSEN = [
    ("busybox", {"https://index.docker.io/v1/": MINE, "docker.io": THEIRS}, MINE),
    ("r.example/x", {"r.example": MINE, "https://r.example": THEIRS}, MINE),
    ("r.example/x", {"https://r.example/v1/": MINE}, MINE),
    ("r.example:5000/x", {"r.example": THEIRS, "http://r.example:5000": MINE}, MINE),
    ("r.example/x", {"example": THEIRS, "https://index.docker.io/v1/": THEIRS}, None),
]


@pytest.mark.parametrize(("name", "configs", "auth"), CHOSEN)
def test_of_many_credentials_those_of_the_images_registry_are_used(
    name: str, configs: dict[str, AuthConfig], auth: AuthConfig | None
) -> None:
    assert chosen(configs, parse_reference(name)) == auth
