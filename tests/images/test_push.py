"""Pushing to Debian's docker-registry, in every way that registries want to know who one is."""

import hashlib
import json
import math
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.images.shelf import Shelf, heard, layer, opened, put
from tests.registry.secured import docker_registry, htpasswd, identity, tls, token_server
from tests.registry.server import Handler, serving

from lighterman.apitypes.image import Progress
from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import InvalidParameter, System, Unauthorized
from lighterman.images import Limits
from lighterman.reference import parse_reference
from lighterman.registry import Registry
from lighterman.registry import repository as repository_module

ME = AuthConfig(username="me", password="secret")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("plain")) as host:
        yield host


async def push(shelf: Shelf, name: str, auth: AuthConfig | None = None) -> list[Progress]:
    messages = await heard(await shelf.images.push(name, auth=auth))
    assert not isinstance(messages[-1].error, str), messages[-1].error
    return messages


def lines(messages: list[Progress]) -> list[str]:
    """What stays on a terminal: of each id the last line."""
    shown: dict[str, str] = {}
    for message in messages:
        if isinstance(message.status, str):
            key = message.id if isinstance(message.id, str) else message.status
            shown[key] = message.status
    return list(shown.values())


async def test_a_push_is_told_as_the_cli_shows_it(shelf: Shelf, plain: str) -> None:
    await put(shelf, f"{plain}/a:1", layers=[layer("low"), layer("top")])
    messages = await push(shelf, f"{plain}/a:1")
    first, pushed, *_ = lines(messages)
    assert first == f"The push refers to repository [{plain}/a]"
    assert pushed == "Pushed"
    aux = messages[-1].aux
    assert isinstance(aux, dict)
    assert messages[-2].status == f"1: digest: {aux['Digest']} size: {aux['Size']}"
    assert shelf.images.inspect(f"{plain}/a:1").repo_digests == [f"{plain}/a@{aux['Digest']}"]
    assert shelf.told()[-1][:2] == ("push", f"{plain}/a:1")


async def test_what_is_there_is_not_sent_and_what_is_near_is_taken_over(shelf: Shelf, plain: str) -> None:
    await put(shelf, f"{plain}/b:1", f"{plain}/c:1", layers=[layer("b1"), layer("b2")])
    await push(shelf, f"{plain}/b:1")
    again = lines(await push(shelf, f"{plain}/b:1"))
    assert again[1:3] == ["Layer already exists"] * 2
    assert lines(await push(shelf, f"{plain}/c:1"))[1:3] == ["Mounted from b"] * 2


async def test_all_tags_of_a_name_are_pushed(shelf: Shelf, plain: str) -> None:
    await put(shelf, f"{plain}/d:1", f"{plain}/d:2", layers=[layer("d")])
    told = [line for line in lines(await push(shelf, f"{plain}/d")) if ": digest: " in line]
    assert [line[:2] for line in told] == ["1:", "2:"]


@pytest.mark.parametrize("form", ["v2s2", "oci"])
async def test_an_image_goes_back_by_the_manifest_by_which_it_came(
    shelf: Shelf, plain: str, tmp_path: Path, form: str
) -> None:
    raw = await put_in_form(shelf, plain, form)
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    await heard(await shelf.images.pull(f"{plain}/{form}", "in"))
    await shelf.images.tag(f"{plain}/{form}:in", f"{plain}/{form}-back:out")
    messages = await push(shelf, f"{plain}/{form}-back:out")
    assert isinstance(messages[-1].aux, dict)
    assert messages[-1].aux["Digest"] == digest


async def put_in_form(shelf: Shelf, host: str, form: str) -> bytes:
    """Push an image with a manifest that no engine would write; its bytes."""
    docker, oci = "application/vnd.docker.", "application/vnd.oci.image."
    kinds = {
        "v2s2": (f"{docker}distribution.manifest.v2+json", f"{docker}container.image.v1+json"),
        "oci": (f"{oci}manifest.v1+json", f"{oci}config.v1+json"),
    }
    manifest_type, config_type = kinds[form]
    layer_type = f"{docker}image.rootfs.diff.tar.gzip" if form == "v2s2" else f"{oci}layer.v1.tar+gzip"
    image_id = await put(shelf, f"{host}/{form}:seed", layers=[layer(form)])
    await push(shelf, f"{host}/{form}:seed")
    store = shelf.images._store
    (chain_id,) = shelf.images.find(image_id).chain
    known = shelf.rooms.snapshots.layer(chain_id)
    assert known is not None
    document = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"digest": image_id, "size": len(store.document(image_id)), "mediaType": config_type},
        "layers": [{"size": known.blob_bytes, "mediaType": layer_type, "digest": known.blob}],
    }
    raw = json.dumps(document, indent=1).encode()
    async with Registry().open(parse_reference(f"{host}/{form}"), None, actions="push,pull") as repository:
        await repository.put_manifest("in", manifest_type, raw)
    await shelf.images.delete(image_id, force=True)
    return raw


async def test_what_is_not_here_is_not_pushed(shelf: Shelf, plain: str) -> None:
    (_, last) = await heard(await shelf.images.push(f"{plain}/nope:1"))
    assert last.error == f"An image does not exist locally with the tag: {plain}/nope"
    with pytest.raises(InvalidParameter):
        await shelf.images.push("UP")


# --- who one is ---


async def test_a_password_is_proved_and_used(shelf: Shelf, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "r", auth=htpasswd(tmp_path / "r")) as host:
        await put(shelf, f"{host}/a:1")
        given = AuthConfig(username="me", password="secret", serveraddress=host)
        assert await shelf.images.log_in(given) == ""
        wrong = AuthConfig(username="me", password="wrong", serveraddress=host)
        with pytest.raises(Unauthorized) as refused:
            await shelf.images.log_in(wrong)
        assert str(refused.value) == (
            f"login attempt to http://{host}/v2/ failed with status: 401 Unauthorized"
        )
        await push(shelf, f"{host}/a:1", ME)
        denied = await heard(await shelf.images.push(f"{host}/a:1"))
        assert isinstance(denied[-1].error, str)
        assert "no basic auth credentials" in denied[-1].error
        await shelf.images.delete(f"{host}/a:1", force=True)
        await heard(await shelf.images.pull(f"{host}/a:1", auth=ME))


async def test_tokens_are_fetched_by_password_and_by_identity_token(shelf: Shelf, tmp_path: Path) -> None:
    with (
        token_server() as tokens,
        docker_registry(tmp_path / "r", auth=tokens.settings(tmp_path / "r")) as host,
    ):
        await put(shelf, f"{host}/a:1", f"{host}/b:1")
        given = AuthConfig(username="me", password="secret", serveraddress=host)
        identity_token = await shelf.images.log_in(given)
        assert identity_token == "refresh-me"
        assert "offline_token" in tokens.asked[-1][1]
        await push(shelf, f"{host}/a:1", ME)
        assert tokens.asked[-1][1]["scope"] == ["repository:a:push,pull"]
        by_token = AuthConfig(username="<token>", identitytoken=identity_token)
        assert "Mounted from a" in lines(await push(shelf, f"{host}/b:1", by_token))
        assert tokens.asked[-1][0] == "POST"
        assert tokens.asked[-1][1]["scope"] == ["repository:b:push,pull repository:a:pull"]
        with pytest.raises(Unauthorized, match="incorrect username or password"):
            await shelf.images.log_in(AuthConfig(username="me", password="no", serveraddress=host))
        refused = await heard(await shelf.images.push(f"{host}/a:1", auth=AuthConfig(identitytoken="old")))
        assert isinstance(refused[-1].error, str)


# --- how one gets there ---


async def test_certificates_of_a_registry_lie_under_its_name(tmp_path: Path) -> None:
    who, client = identity("registry"), identity("client")
    with docker_registry(tmp_path / "r", http=tls(tmp_path / "r", who, clients=client)) as host:
        certs = tmp_path / "certs.d" / host
        certs.mkdir(parents=True)
        registry = Registry(insecure=(), certs_d=str(tmp_path / "certs.d"))
        async with opened(tmp_path / "root", registry=registry) as shelf:
            image_id = await put(shelf, f"{host}/a:1")
            (_, last) = await heard(await shelf.images.push(f"{host}/a:1"))
            assert isinstance(last.error, str)
            assert "x509" in last.error
            (certs / "ca.crt").write_bytes(who.pem)
            (certs / "me.cert").write_bytes(client.pem)
            (_, last) = await heard(await shelf.images.push(f"{host}/a:1"))
            assert last.error == "missing key me.key for client certificate me.cert"
            (certs / "me.key").write_bytes(client.key_pem)
            await push(shelf, f"{host}/a:1")
            await shelf.images.delete(image_id, force=True)
            await heard(await shelf.images.pull(f"{host}/a:1"))
            assert shelf.images.find(f"{host}/a:1").id == image_id


async def test_an_insecure_registry_may_have_any_certificate(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "r", http=tls(tmp_path / "r", identity("x"))) as host:
        async with opened(tmp_path / "root", registry=Registry(insecure=(host,))) as shelf:
            image_id = await put(shelf, f"{host}/a:1")
            await push(shelf, f"{host}/a:1")
            await shelf.images.delete(image_id, force=True)
            await heard(await shelf.images.pull(f"{host}/a:1"))


async def test_a_registry_may_have_an_ipv6_address(shelf: Shelf, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "six", ipv6=True) as host:
        image_id = await put(shelf, f"{host}/a:1")
        await push(shelf, f"{host}/a:1")
        await shelf.images.delete(image_id, force=True)
        await heard(await shelf.images.pull(f"{host}/a:1"))
        assert shelf.images.find(f"{host}/a:1").id == image_id


async def test_a_mirror_is_asked_before_and_its_failure_is_not_the_end(tmp_path: Path, plain: str) -> None:
    with docker_registry(tmp_path / "m") as mirror:
        hosts = tmp_path / "certs.d" / plain / "hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text(f'[host."http://{mirror}"]\n  capabilities = ["pull", "resolve"]\n')
        async with opened(tmp_path / "root", registry=Registry(certs_d=str(tmp_path / "certs.d"))) as shelf:
            image_id = await put(shelf, f"{plain}/mirrored:1", f"{mirror}/mirrored:2")
            await push(shelf, f"{plain}/mirrored:1")
            await push(shelf, f"{mirror}/mirrored:2")
            await shelf.images.delete(image_id, force=True)
            await heard(await shelf.images.pull(f"{plain}/mirrored:2"))
            assert shelf.images.find(f"{plain}/mirrored:2").id == image_id
            await heard(await shelf.images.pull(f"{plain}/mirrored:1"))
            assert shelf.images.find(f"{plain}/mirrored:1").id == image_id


async def test_a_mirror_of_dockers_own_registry_is_asked(tmp_path: Path, plain: str) -> None:
    async with opened(tmp_path / "root", registry=Registry(mirrors=(f"http://{plain}/",))) as shelf:
        image_id = await put(shelf, f"{plain}/library/mirrored:1")
        await push(shelf, f"{plain}/library/mirrored:1")
        await shelf.images.delete(image_id, force=True)
        await heard(await shelf.images.pull("mirrored:1"))
        assert shelf.images.inspect("mirrored:1").repo_tags == ["mirrored:1"]


async def test_a_file_of_mirrors_that_is_none_is_told(tmp_path: Path) -> None:
    hosts = tmp_path / "r.invalid" / "hosts.toml"
    hosts.parent.mkdir()
    hosts.write_text("[")
    async with opened(tmp_path / "root", registry=Registry(certs_d=str(tmp_path))) as shelf:
        with pytest.raises(System, match=r"hosts\.toml cannot be used"):
            await shelf.images.pull("r.invalid/a:1")


async def test_a_registry_tells_what_is_behind_a_name(shelf: Shelf, plain: str) -> None:
    await put(shelf, f"{plain}/e:1", layers=[layer("e")])
    messages = await push(shelf, f"{plain}/e:1")
    found = await shelf.images.distribution(f"{plain}/e:1")
    assert isinstance(messages[-1].aux, dict)
    assert found.descriptor.digest == messages[-1].aux["Digest"]
    assert [(one.os, one.architecture) for one in found.platforms] == [("linux", "amd64")]


@contextmanager
def cut_once(host: str, after_bytes: int) -> Iterator[str]:
    """A way to `host` on which the first connection that sends so much is cut."""
    address, _, port = host.partition(":")
    cut: list[bool] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source: socket.socket, target: socket.socket, limit: float) -> None:
        sent = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sent += len(data)
                if sent > limit and not cut:
                    cut.append(True)
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((address, int(port)))
                threading.Thread(target=carry, args=(client, server, after_bytes), daemon=True).start()
                threading.Thread(target=carry, args=(server, client, math.inf), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        assert cut
    finally:
        listener.close()


async def test_an_upload_that_breaks_off_is_sent_again(shelf: Shelf, plain: str) -> None:
    noise = random.Random(1).randbytes(3_000_000)
    with cut_once(plain, 1_000_000) as host:
        image_id = await put(shelf, f"{host}/broken:1", layers=[layer("noise", noise)])
        messages = await push(shelf, f"{host}/broken:1")
        assert "Retrying in 1 second" in [message.status for message in messages]
        await shelf.images.delete(image_id, force=True)
        await heard(await shelf.images.pull(f"{host}/broken:1"))
        assert shelf.images.find(f"{host}/broken:1").id == image_id


HOSTILE: dict[str, tuple[Callable[[Handler], None], str]] = {
    "a file": (lambda handler: handler.begin("file:///etc/passwd"), 'unsupported protocol scheme "file"'),
    "another protocol": (lambda handler: handler.begin("gopher://127.0.0.1/x"), 'scheme "gopher"'),
    "a circle": (lambda handler: handler.redirect(handler.path), "stopped after 10 redirects"),
    "headers without an end": (Handler.endless_headers, ""),
    "a body without an end": (Handler.endless_body, "more than"),
    "no answer": (lambda handler: None, "EOF"),
}


@pytest.mark.parametrize(("answer", "said"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_registry_that_takes_nothing_honestly_gets_nothing(
    shelf: Shelf, answer: Callable[[Handler], None], said: str
) -> None:
    with serving() as registry:
        registry.upload_answer = answer
        await put(shelf, f"{registry.host}/x:1")
        *_, last = await heard(await shelf.images.push(f"{registry.host}/x:1"))
        assert isinstance(last.error, str)
        assert said in last.error
    assert shelf.images.inspect(f"{registry.host}/x:1").repo_digests == []


async def test_a_large_layer_goes_in_chunks_where_the_registry_takes_them(
    shelf: Shelf, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository_module, "CHUNK_BYTES", 1_000_000)
    noise = random.Random(3).randbytes(3_000_000)
    image_id = await put(shelf, f"{plain}/chunks:1", layers=[layer("noise", noise)])
    messages = await push(shelf, f"{plain}/chunks:1")
    assert "Pushed" in [message.status for message in messages]
    await shelf.images.delete(image_id, force=True)
    await heard(await shelf.images.pull(f"{plain}/chunks:1"))
    assert shelf.images.find(f"{plain}/chunks:1").id == image_id


async def test_layers_wait_for_their_turn_to_be_pushed(shelf: Shelf, plain: str) -> None:
    shelf.images.limit(Limits(uploads=1))
    await put(shelf, f"{plain}/turns:1", layers=[layer(f"turn{number}") for number in range(3)])
    messages = await push(shelf, f"{plain}/turns:1")
    assert [message.status for message in messages].count("Waiting") == 2


async def test_a_push_that_nobody_waits_for_ends(shelf: Shelf, plain: str) -> None:
    noise = random.Random(2).randbytes(20_000_000)
    await put(shelf, f"{plain}/left:1", layers=[layer("noise", noise)])
    stream = await shelf.images.push(f"{plain}/left:1")
    async for message in stream:
        if message.status == "Pushing":
            break
    await stream.aclose()
    assert shelf.images.inspect(f"{plain}/left:1").repo_digests == []
