"""Heavy images on all their ways: pulled, saved, loaded, pushed, removed; many in a list; and a commit."""

import http.client
import io
import shutil
import tempfile
from pathlib import Path

from tests.support.images import busybox_layer, entry, heavy_layers, saved, tarball
from tests.support.registry import Registry

from benchmarks.archives import swallowed
from benchmarks.rows import Bench, Numbers, timed

CHANGED_FILES = 2000
LISTED = 200
ONE_LAYER_BYTES = 500_000_000
EMPTY_PORT = 5001
_NO_CREDENTIALS = "e30="
"""base64 of {}: a push has to bring some."""


def images(bench: Bench) -> Numbers:
    """The image of 300 MB in 10 layers; each number begins with nothing of it where it goes."""
    numbers: dict[str, float] = {}
    client = bench.client
    name, _, tag = bench.image.rpartition(":")
    client.raw("POST", f"/images/create?fromImage={name}&tag={tag}")
    with timed(numbers, "save 300 MB"):
        swallowed(client, f"/images/{bench.image}/get")
    with tempfile.TemporaryDirectory(prefix="lm-bench-") as folder:
        archive = Path(folder) / "heavy.tar"
        _download(bench, archive)
        _push(bench, bench.image, "300 MB", Path(folder) / "registry", numbers)
        with timed(numbers, "rmi 300 MB"):
            client.raw("DELETE", f"/images/{bench.image}?force=1")
        with timed(numbers, "load 300 MB"), archive.open("rb") as data:
            client.connection.request("POST", "/v1.36/images/load?quiet=1", data, _sized(archive))
            told = client.connection.getresponse().read()
        assert b"Loaded image" in told, told[-300:]
    client.raw("DELETE", f"/images/{bench.image}?force=1")
    return numbers


def _download(bench: Bench, archive: Path) -> None:
    connection = bench.client.connection
    connection.request("GET", f"/v1.36/images/{bench.image}/get")
    answer: http.client.HTTPResponse = connection.getresponse()
    with archive.open("wb") as out:
        shutil.copyfileobj(answer, out, 1 << 20)


def _sized(archive: Path) -> dict[str, str]:
    return {"Content-Type": "application/x-tar", "Content-Length": str(archive.stat().st_size)}


def _push(bench: Bench, image: str, what: str, storage: Path, numbers: dict[str, float]) -> None:
    """To a registry that holds nothing."""
    storage.mkdir()
    registry = Registry(bench.engine.net, storage, EMPTY_PORT)
    try:
        target = f"{registry.name}/heavy"
        bench.client.raw("POST", f"/images/{image}/tag?repo={target}&tag=1")
        connection = bench.client.connection
        with timed(numbers, f"push {what}"):
            connection.request(
                "POST", f"/v1.36/images/{target}/push?tag=1", headers={"X-Registry-Auth": _NO_CREDENTIALS}
            )
            told = connection.getresponse().read()
        assert b"errorDetail" not in told, told[-300:]
        bench.client.raw("DELETE", f"/images/{target}:1")
    finally:
        registry.close()


def one_layer(bench: Bench) -> Numbers:
    """An image whose bytes are nearly all in one layer: nothing of it can be done side by side by layers."""
    numbers: dict[str, float] = {}
    what = f"{ONE_LAYER_BYTES // 10**6} MB, 1 layer"
    with tempfile.TemporaryDirectory(prefix="lm-bench-") as folder:
        image = _one_layer(bench.registry, Path(folder))
        name, _, tag = image.rpartition(":")
        with timed(numbers, f"pull {what}"):
            told = bench.client.raw("POST", f"/images/create?fromImage={name}&tag={tag}")
        assert b"errorDetail" not in told, told[-300:]
        _push(bench, image, what, Path(folder) / "registry", numbers)
    bench.client.raw("DELETE", f"/images/{image}?force=1")
    return numbers


def _one_layer(registry: Registry, folder: Path) -> str:
    """Its name in the registry, where it is put once: those of both engines serve the same files."""
    name = "one-layer:1"
    if not (registry.storage / "docker/registry/v2/repositories/one-layer").exists():
        archive = folder / "image.tar"
        archive.write_bytes(saved([name], [busybox_layer(), *heavy_layers(1, ONE_LAYER_BYTES)]))
        registry.push(archive, name)
        archive.unlink()
    return f"{registry.name}/{name}"


def listed(bench: Bench) -> Numbers:
    """A list of 200 images with a small layer each."""
    numbers: dict[str, float] = {}
    client = bench.client
    there = len(bench.engine.http.ok("GET", "/images/json"))
    for number in range(there, LISTED):
        layer = tarball([(entry("f", mode=0o644), b"%d" % number)])
        path = f"/v1.36/images/create?fromSrc=-&repo=listed&tag={number}"
        client.connection.request("POST", path, io.BytesIO(layer), {"Content-Length": str(len(layer))})
        assert b"errorDetail" not in client.connection.getresponse().read()
    with timed(numbers, f"list of {LISTED} images"):
        client.raw("GET", "/images/json")
    return numbers


def commit(bench: Bench) -> Numbers:
    """A container that has written 2,000 small files becomes an image."""
    numbers: dict[str, float] = {}
    script = f"i=0; while [ $i -lt {CHANGED_FILES} ]; do echo $i >/f$i; i=$((i+1)); done"
    cid = bench.client.create("sh", "-c", script, network="none")
    bench.client.start(cid)
    bench.client.wait(cid)
    with timed(numbers, f"commit {CHANGED_FILES} files"):
        bench.client.raw("POST", f"/commit?container={cid}&repo=made&tag=1")
    bench.client.remove(cid)
    bench.client.raw("DELETE", "/images/made:1")
    return numbers
