"""Images made from nothing but the static busybox of the machine: small, the same bytes on each run."""

import hashlib
import io
import json
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

BUSYBOX = "busybox:latest"
CREATED = "2026-01-01T00:00:00Z"


def entry(name: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o755, **more: Any) -> tarfile.TarInfo:
    """A tar entry of root with no time of its own."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, 0
    for key, value in more.items():
        setattr(info, key, value)
    return info


def tarball(entries: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An uncompressed tar of these entries, in this order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


@cache
def busybox_layer() -> bytes:
    """A root file system of busybox and its applets, as an uncompressed tar."""
    program = shutil.which("busybox")
    assert program, "busybox-static is missing"
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    folders = ("bin", "etc", "root", "home", "var", "proc", "sys", "dev")
    return tarball(
        [
            *((entry(name, kind=tarfile.DIRTYPE), b"") for name in folders),
            (entry("tmp", kind=tarfile.DIRTYPE, mode=0o1777), b""),
            (entry("bin/busybox"), Path(program).read_bytes()),
            *(
                (entry(f"bin/{name}", kind=tarfile.SYMTYPE, linkname="busybox"), b"")
                for name in applets
                if name != "busybox"
            ),
            (
                entry("etc/passwd", mode=0o644),
                b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
                b"app:x:1000:1000:app:/home:/bin/sh\n",
            ),
            (entry("etc/group", mode=0o644), b"root:x:0:\nnobody:x:65534:\napp:x:1000:\nextra:x:2000:app\n"),
        ]
    )


def config(layers: Sequence[bytes], **settings: Any) -> bytes:
    """An image's configuration over these uncompressed layers."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], **settings},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            "history": [{"created": CREATED, "created_by": f"layer {n}"} for n, _ in enumerate(layers)],
        },
        sort_keys=True,
    ).encode()


def digest(data: bytes) -> str:
    """The digest of these bytes, as an image writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def saved(tags: Sequence[str], layers: Sequence[bytes] | None = None, **settings: Any) -> bytes:
    """What `docker save` would write: an image of these layers (busybox if none are given)."""
    layers = [busybox_layer()] if layers is None else layers
    document = config(layers, **settings)
    name = f"{digest(document).removeprefix('sha256:')}.json"
    blobs = {f"{digest(layer).removeprefix('sha256:')}/layer.tar": layer for layer in layers}
    index = json.dumps([{"Config": name, "RepoTags": list(tags), "Layers": list(blobs)}]).encode()
    return tarball(
        [
            (entry(name, mode=0o644), document),
            *((entry(path, mode=0o644), data) for path, data in blobs.items()),
            (entry("manifest.json", mode=0o644), index),
        ]
    )


def heavy_layers(count: int, total_bytes: int) -> Iterator[bytes]:
    """`count` layers above busybox with `total_bytes` in all: half of each does not compress.

    Many files of several sizes, as packages have them; the same bytes on each run.
    """
    for number in range(count):
        chance = random.Random(number)
        folder, left, entries = f"data{number}", total_bytes // count, []
        entries.append((entry(folder, kind=tarfile.DIRTYPE), b""))
        for index in range(1 << 20):
            size = min(left, chance.choice((4_000, 20_000, 100_000, 1_000_000)))
            noise = chance.randbytes(size // 2)
            text = (b"%08d the quick brown fox jumps over the lazy dog\n" % index) * (size // 100 + 1)
            entries.append((entry(f"{folder}/{index}", mode=0o644), noise + text[: size - len(noise)]))
            left -= size
            if left <= 0:
                break
        yield tarball(entries)
