"""Pulling, from a registry in this process that may lie, and from the distribution's own."""

import asyncio
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
import zstandard
from tests.content.archives import archive, file
from tests.images.shelf import Shelf, config, heard, ids, layer, opened, saved
from tests.registry.server import LIST, MANIFEST, Handler, Registry, describe, digest, serving

from lighterman.apitypes.image import Progress
from lighterman.apitypes.registry import AuthConfig
from lighterman.errdefs import EngineError, InvalidParameter, NotFound
from lighterman.images import Limits
from lighterman.images.check import check_store
from lighterman.images.pull import pulled_reference
from lighterman.lib.filters import Filters
from lighterman.registry import progress
from lighterman.registry.auth import basic


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


def put(registry: Registry, *tags: str, names: Sequence[str] = ("low", "top"), day: int = 1) -> str:
    """Push an image with a layer for each name; its id."""
    layers = [layer(name, name.encode() * 1000) for name in names]
    raw = config(*layers, day=day)
    registry.put(raw, [gzip.compress(data, mtime=0) for data in layers], *tags)
    return digest(raw)


async def pull(shelf: Shelf, registry: Registry, tag: str = "1", *, platform: str = "") -> list[Progress]:
    return await heard(await shelf.images.pull(f"{registry.host}/x", tag, platform=platform))


def texts(messages: Sequence[Progress]) -> list[str]:
    return [str(message.status) for message in messages]


def nothing_is_left(shelf: Shelf) -> bool:
    root = shelf.rooms.root
    kept = shelf.rooms.content.digests() | set(shelf.rooms.snapshots.layer_ids())
    return not (len(shelf.images) or kept or os.listdir(root / "ingest") or os.listdir(root / "layers"))


async def test_a_pull_is_told_as_the_cli_shows_it(shelf: Shelf, registry: Registry) -> None:
    image_id = put(registry, "1")
    messages = await pull(shelf, registry)
    manifest = digest(registry.manifests["1"][1])
    name = f"{registry.host}/x"
    assert messages[0] == Progress(status="Pulling from x", id="1")
    assert texts(messages[1:3]) == ["Pulling fs layer"] * 2
    for wanted in ("Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"):
        assert texts(messages).count(wanted) >= 2
    assert texts(messages[-2:]) == [f"Digest: {manifest}", f"Status: Downloaded newer image for {name}:1"]
    shown = shelf.images.inspect(f"{name}:1")
    assert (shown.id, shown.repo_tags, shown.repo_digests) == (
        image_id,
        [f"{name}:1"],
        [f"{name}@{manifest}"],
    )
    assert shelf.told() == [("pull", f"{name}:1", {"name": name})]


async def test_a_second_pull_finds_everything_up_to_date(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    await pull(shelf, registry)
    registry.asked.clear()
    assert texts(await pull(shelf, registry))[-1] == f"Status: Image is up to date for {registry.host}/x:1"
    assert not any("/blobs/" in path for path, _ in registry.asked)


@pytest.mark.parametrize("kind", ["zstd", "plain"])
async def test_a_layer_is_compressed_in_any_way_or_not_at_all(
    shelf: Shelf, registry: Registry, kind: str
) -> None:
    data, suffix = layer("f", b"content"), "+zstd" if kind == "zstd" else ""
    blob, raw = zstandard.compress(data) if kind == "zstd" else data, config(data)
    registry.blobs |= {digest(raw): raw, digest(blob): blob}
    oci = "application/vnd.oci.image"
    document = {
        "schemaVersion": 2,
        "config": describe(raw, f"{oci}.config.v1+json"),
        "layers": [describe(blob, f"{oci}.layer.v1.tar{suffix}")],
    }
    registry.put_manifest(f"{oci}.manifest.v1+json", document, "1")
    await pull(shelf, registry)
    (chain_id,) = shelf.images.find(f"{registry.host}/x:1").chain
    with open(f"{shelf.rooms.snapshots.layer_dirs(chain_id)['UpperDir']}/f", "rb") as file:  # noqa: ASYNC230 it is small
        assert file.read() == b"content"


async def test_layers_that_are_here_are_not_fetched_again(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    put(registry, "2", names=("low", "other"), day=2)
    await pull(shelf, registry)
    messages = await pull(shelf, registry, "2")
    assert texts(messages[1:3]) == ["Already exists", "Pulling fs layer"]
    assert len(shelf.rooms.snapshots.layer_ids()) == 3


async def test_pulls_of_the_same_share_their_downloads(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    put(registry, "2", day=2)
    await asyncio.gather(*(pull(shelf, registry, tag) for tag in ("1", "2") * 5))
    fetched = [path for path, _ in registry.asked if "/blobs/" in path]
    layers = {path for path in fetched if fetched.count(path) == 1}
    assert len(layers) >= 2
    assert len(shelf.images) == 2
    assert len(shelf.rooms.snapshots.layer_ids()) == 2


async def test_requests_of_a_pull_share_a_connection(shelf: Shelf, registry: Registry) -> None:
    registry.keeps_alive = True
    put(registry, "1")
    await pull(shelf, registry)
    layers = sum("/blobs/" in path for path, _ in registry.asked) - 1
    tries_with_tls = 1
    assert registry.connections == tries_with_tls + 1 + layers, "each download is a process of its own"


async def test_one_who_stops_does_not_stop_another(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    first = await shelf.images.pull(f"{registry.host}/x", "1")
    second = asyncio.create_task(pull(shelf, registry))
    async with aclosing(first):
        await anext(first)
    assert texts(await second)[-1].startswith("Status:")


async def test_a_pull_by_digest_names_no_tag(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    wanted = digest(registry.manifests["1"][1])
    await pull(shelf, registry, wanted)
    shown = shelf.images.inspect(f"{registry.host}/x@{wanted}")
    assert (shown.repo_tags, shown.repo_digests) == ([], [f"{registry.host}/x@{wanted}"])


async def test_of_a_list_the_hosts_platform_is_taken(shelf: Shelf, registry: Registry) -> None:
    image_id = put(registry, "1")
    raw = registry.manifests["1"][1]
    host = {"architecture": os.uname().machine, "os": "linux"}
    entries = [
        describe(b"other", MANIFEST, platform={"architecture": "s390x", "os": "linux"}),
        describe(raw, MANIFEST, platform=host),
    ]
    put_list = registry.put_manifest(LIST, {"schemaVersion": 2, "manifests": entries}, "many")
    messages = await pull(shelf, registry, "many")
    assert f"Digest: {digest(put_list)}" in texts(messages)
    assert ids(shelf) == [image_id]
    with pytest.raises(NotFound, match="no matching manifest for linux/arm64"):
        await pull(shelf, registry, "many", platform="linux/arm64")


async def test_another_platform_than_asked_for_is_warned_of(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    messages = await pull(shelf, registry, platform="linux/arm64")
    assert texts(messages)[-1].startswith("WARNING: image with reference")


async def test_a_prune_takes_names_of_all_kinds(shelf: Shelf, registry: Registry) -> None:
    image_id = put(registry, "1")
    await pull(shelf, registry)
    pruned = await shelf.images.prune(Filters({"dangling": ("false",)}))
    assert image_id in {item.deleted for item in pruned.images_deleted or ()}
    assert nothing_is_left(shelf)


async def test_without_a_tag_all_tags_are_pulled(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    put(registry, "2", day=2)
    await pull(shelf, registry, "")
    assert len(shelf.images) == 2


async def test_a_tag_that_moves_meanwhile_never_mixes_two_images(shelf: Shelf, registry: Registry) -> None:
    old = put(registry, "1", names=("a", "b"))
    stream = await shelf.images.pull(f"{registry.host}/x", "1")
    put(registry, "1", names=("c", "d"), day=2)
    await heard(stream)
    assert ids(shelf) == [old]
    await shelf.rooms.snapshots.prepare("c", shelf.images.find(old).top_chain)
    assert {"a", "b"} <= set(os.listdir(await shelf.rooms.snapshots.mount("c")))
    await shelf.rooms.snapshots.remove("c")


async def test_what_fails_before_the_manifest_is_a_plain_error(shelf: Shelf, registry: Registry) -> None:
    with pytest.raises(NotFound, match="manifest unknown"):
        await pull(shelf, registry, "nope")
    with pytest.raises(EngineError, match="connection refused"):
        await shelf.images.pull("127.0.0.1:1/x", "y")
    for name, tag in (("UP", ""), ("a", "b c"), ("scratch", "latest")):
        with pytest.raises(InvalidParameter):
            await shelf.images.pull(name, tag)


def test_a_tag_may_be_a_digest_and_replaces_the_one_in_the_name() -> None:
    assert pulled_reference("a:1", "2").familiar() == "a:2"
    assert pulled_reference("a:", "").familiar() == "a"
    assert pulled_reference("a:1", digest(b"")).familiar() == f"a@{digest(b'')}"


def broken_off(handler: Handler, blob: bytes) -> None:
    at = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    handler.send_response(206 if at else 200)
    handler.send_header("Content-Length", str(len(blob) - at))
    handler.end_headers()
    handler.wfile.write(blob[at:] if at else blob[: len(blob) // 2])


async def test_a_registry_that_breaks_off_is_asked_for_the_rest(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    registry.blob_answer = lambda handler, blob: (
        handler.whole(blob) if blob[:1] == b"{" else broken_off(handler, blob)
    )
    told = texts(await pull(shelf, registry))
    assert told.count("Retrying in 1 second") == 2, "once for each layer"
    assert told[-1].startswith("Status: Downloaded")


def lie(blob: bytes) -> bytes:
    return blob[:-1] + bytes([blob[-1] ^ 1])


ONE_TRY = Limits(download_attempts=1)

LIES: dict[str, Callable[[Handler, bytes], None]] = {
    "wrong bytes": lambda handler, blob: handler.whole(blob if blob[:1] == b"{" else lie(blob)),
    "too few bytes": lambda handler, blob: handler.whole(blob if blob[:1] == b"{" else blob[:40]),
    "too many bytes": lambda handler, blob: handler.whole(blob if blob[:1] == b"{" else blob + b"x"),
    "no bytes": lambda handler, blob: (
        handler.whole(blob) if blob[:1] == b"{" else handler.refuse(404, "BLOB_UNKNOWN", "blob unknown")
    ),
    "other bytes of the same kind": lambda handler, blob: handler.whole(
        blob if blob[:1] == b"{" else gzip.compress(layer("evil"), mtime=0).ljust(len(blob), b"\0")
    ),
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES.keys())
async def test_a_registry_that_lies_leaves_an_error_and_nothing_else(
    shelf: Shelf, registry: Registry, answer: Callable[[Handler, bytes], None]
) -> None:
    put(registry, "1")
    shelf.images.limit(ONE_TRY)
    registry.blob_answer = answer
    messages = await pull(shelf, registry)
    assert isinstance(messages[-1].error, str)
    assert nothing_is_left(shelf)


def only_layers(answer: Callable[[Handler], None]) -> Callable[[Handler, bytes], None]:
    return lambda handler, blob: handler.whole(blob) if blob[:1] == b"{" else answer(handler)


HOSTILE: dict[str, tuple[Callable[[Handler], None], str]] = {
    "headers without an end": (Handler.endless_headers, ""),
    "a body without an end": (Handler.endless_body, "more than"),
    "a circle": (lambda handler: handler.redirect(handler.path), "stopped after 10 redirects"),
    "a file": (lambda handler: handler.redirect("file:///etc/passwd"), 'unsupported protocol scheme "file"'),
    "no answer": (lambda handler: None, "EOF"),
}


@pytest.mark.parametrize("of", ["manifest", "layer"])
@pytest.mark.parametrize(("answer", "said"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_registry_is_left_alone(
    shelf: Shelf, registry: Registry, answer: Callable[[Handler], None], said: str, of: str
) -> None:
    put(registry, "1")
    shelf.images.limit(ONE_TRY)
    if of == "manifest":
        registry.manifest_answer = lambda handler, name: answer(handler)
        with pytest.raises(EngineError) as refused:
            await pull(shelf, registry)
        told = str(refused.value)
    else:
        registry.blob_answer = only_layers(answer)
        told = str((await pull(shelf, registry))[-1].error)
    assert said in told
    assert nothing_is_left(shelf)


async def test_a_manifest_of_another_kind_than_it_says_is_refused(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    registry.manifests["1"] = LIST, registry.manifests["1"][1]
    with pytest.raises(InvalidParameter, match="manifest says it is"):
        await pull(shelf, registry)
    assert nothing_is_left(shelf)


async def test_a_token_server_that_is_a_file_is_not_opened(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    registry.challenge = 'Bearer realm="file:///etc/passwd",service="s"'
    with pytest.raises(EngineError, match="unsupported protocol scheme"):
        await pull(shelf, registry)


async def test_a_layer_that_the_configuration_does_not_know_is_refused(
    shelf: Shelf, registry: Registry
) -> None:
    registry.put(config(layer("a")), [gzip.compress(layer("b"))], "1")
    messages = await pull(shelf, registry)
    assert "don't match image configuration" in str(messages[-1].error)
    assert nothing_is_left(shelf)


@pytest.mark.parametrize("name", ["../x", ".wh...", "a/../../x"])
async def test_a_hostile_layer_is_refused(shelf: Shelf, registry: Registry, name: str) -> None:
    hostile = archive(file(name))
    registry.put(config(hostile), [gzip.compress(hostile)], "1")
    messages = await pull(shelf, registry)
    assert str(messages[-1].error).startswith("failed to register layer: Error processing tar file")
    assert nothing_is_left(shelf)


async def test_a_client_that_hangs_up_ends_the_pull(shelf: Shelf, registry: Registry) -> None:
    put(registry, "1")
    asked = asyncio.Event()
    loop, hold = asyncio.get_running_loop(), threading.Event()

    def slowly(handler: Handler, blob: bytes) -> None:
        if blob[:1] == b"{":
            handler.whole(blob)
            return
        loop.call_soon_threadsafe(asked.set)
        hold.wait(60)

    registry.blob_answer = slowly
    async with aclosing(await shelf.images.pull(f"{registry.host}/x", "1")) as stream:
        await anext(stream)
        await asyncio.wait_for(asked.wait(), 60)
    hold.set()
    assert nothing_is_left(shelf)


async def test_what_a_pull_counts_on_is_not_removed_meanwhile(shelf: Shelf, registry: Registry) -> None:
    """The layer below was there when the pull began, and its image goes while the one above still comes."""
    put(registry, "1")
    put(registry, "2", names=("low", "other"), day=2)
    await pull(shelf, registry)
    asked, hold = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slowly(handler: Handler, blob: bytes) -> None:
        if blob[:1] != b"{":
            loop.call_soon_threadsafe(asked.set)
            hold.wait(60)
        handler.whole(blob)

    registry.blob_answer = slowly
    pulling = asyncio.create_task(pull(shelf, registry, "2"))
    await asyncio.wait_for(asked.wait(), 60)
    await shelf.images.delete(f"{registry.host}/x:1", force=True)
    await shelf.images.prune(Filters({"dangling": ("false",)}))
    hold.set()
    assert "Already exists" in texts(await pulling)
    assert len(shelf.rooms.snapshots.layer_ids()) == 2
    assert check_store(shelf.rooms.root).complaints == []


async def test_a_shared_layer_is_fetched_by_another_when_the_first_has_gone(
    shelf: Shelf, registry: Registry
) -> None:
    registry.put(config(layer("f", b"x")), [gzip.compress(layer("f", b"x"))], "1")
    registry.challenge = 'Basic realm="r"'
    registry.welcome = {basic("one", "1"), basic("two", "2")}
    asked = asyncio.Event()
    loop, hold = asyncio.get_running_loop(), threading.Event()

    def broken(handler: Handler, blob: bytes) -> None:
        if blob[:1] != b"{" and not hold.is_set():
            loop.call_soon_threadsafe(asked.set)
            hold.wait(60)
            registry.welcome = {basic("two", "2")}  # what the first one may is over
            handler.close_connection = True
            return
        handler.whole(blob)

    registry.blob_answer = broken
    name = f"{registry.host}/x"
    first = await shelf.images.pull(name, "1", auth=AuthConfig(username="one", password="1"))
    await anext(first)
    await asyncio.wait_for(asked.wait(), 60)
    second = await shelf.images.pull(name, "1", auth=AuthConfig(username="two", password="2"))
    messages = [await anext(second), await anext(second)]
    await first.aclose()
    hold.set()
    messages += await heard(second)
    assert not isinstance(messages[-1].error, str), messages[-1].error
    assert shelf.images.find(f"{name}:1")


async def test_layers_that_have_to_wait_say_so(shelf: Shelf, registry: Registry) -> None:
    layers = [layer(f"f{number}") for number in range(Limits().downloads + 2)]
    registry.put(config(*layers), [gzip.compress(one) for one in layers], "1")
    messages = await pull(shelf, registry)
    assert [message.status for message in messages].count("Waiting") == 2


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.images.shelf import opened

async def main() -> None:
    async with opened(Path(sys.argv[1])) as shelf:
        async for message in await shelf.images.pull(sys.argv[2], "1"):
            print(message.status, flush=True)

asyncio.run(main())
"""


async def test_an_engine_killed_in_a_pull_leaves_nothing(tmp_path: Path, registry: Registry) -> None:
    put(registry, "1")
    hold = threading.Event()

    def halfway(handler: Handler, blob: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(blob)))
        handler.end_headers()
        handler.wfile.write(blob if blob[:1] == b"{" else blob[: len(blob) // 2])
        if blob[:1] != b"{":
            hold.wait(60)

    registry.blob_answer = halfway
    root = tmp_path / "root"
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, str(root), f"{registry.host}/x"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert engine.stdout is not None
    async with asyncio.timeout(60):
        while b"Downloading" not in await engine.stdout.readline():
            pass
    engine.send_signal(signal.SIGKILL)
    await engine.wait()
    hold.set()
    registry.blob_answer = Handler.whole
    async with opened(root) as after:
        assert nothing_is_left(after)
        assert texts(await pull(after, registry))[-1].startswith("Status: Downloaded")


BARS = [
    (0, 0, ""),
    (1200, 0, "   1.2kB"),
    (0, 100, "[>                                                  ]       0B/100B"),
    (50, 100, "[=========================>                         ]      50B/100B"),
    (1_048_576, 1_048_576, f"[{'=' * 50}>] {'1.049MB':>8}/1.049MB"),
]


@pytest.mark.parametrize(("current", "total", "shown"), BARS)
def test_a_bar_is_drawn_as_docker_draws_it(current: int, total: int, shown: str) -> None:
    assert progress.bar(current, total) == shown


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[str]:
    """Debian's docker-registry on a free port of loopback."""
    if shutil.which("docker-registry") is None or shutil.which("skopeo") is None:
        pytest.skip("docker-registry and skopeo are not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = tmp_path / "registry.json"  # JSON is YAML
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "storage")}}
    settings.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": host}}))
    command = ["docker-registry", "serve", str(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(host.rpartition(":")[2]))) == 0:
                break
    yield host
    process.terminate()
    process.wait()


@pytest.mark.parametrize("form", ["v2s2", "oci"])
async def test_what_skopeo_pushes_is_pulled(
    shelf: Shelf, distribution: str, tmp_path: Path, form: str
) -> None:
    layers = [layer("low", b"1" * 5000), layer("top")]
    raw = config(*layers)
    (tmp_path / "image.tar").write_bytes(saved((raw, layers, ["a:1"])))
    target = f"docker://{distribution}/a:1"
    arguments = ("--insecure-policy", "--dest-tls-verify=false", f"--format={form}")
    pushed = await asyncio.create_subprocess_exec(
        "skopeo", "copy", "--quiet", *arguments, f"docker-archive:{tmp_path}/image.tar", target
    )
    assert await pushed.wait() == 0
    messages = await heard(await shelf.images.pull(f"{distribution}/a", "1"))
    assert texts(messages)[-1] == f"Status: Downloaded newer image for {distribution}/a:1"
    assert shelf.images.find(f"{distribution}/a:1").size_bytes == 5000
    with pytest.raises(NotFound, match="manifest unknown"):
        await shelf.images.pull(f"{distribution}/a", "2")
