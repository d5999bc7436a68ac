"""The images that moby's suites load into each engine: by their names only are they those of the Hub."""

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.images import busybox_layer, config, digest, entry, tarball

PLACE = Path("/docker-frozen-images")
"""Where the suites look. Source: moby, testutil/fixtures/load."""
_HELLO = r"""
#include <stdio.h>
int main(void) { puts("\nHello from Docker!\nYour installation appears to be working\n"); return 0; }
"""
_USERS = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUPS = b"""root:x:0:
daemon:x:1:
mail:x:8:
wheel:x:10:root
audio:x:29:
www-data:x:33:
operator:x:37:
staff:x:50:
nogroup:x:65534:
"""


def freeze(place: Path = PLACE) -> None:
    """Make the images, if they are not there, as `docker save` would write them: it takes a minute."""
    if (place / "manifest.json").exists():
        return
    place.mkdir(exist_ok=True)
    busybox = _with(busybox_layer(), {"etc/passwd": _USERS, "etc/group": _GROUPS, "etc/shadow": b""})
    hello, debian = _hello(), _debian()
    arm = json.dumps({**json.loads(config([hello], Cmd=["/hello"])), "architecture": "arm", "variant": "v7"})
    other = _with(busybox, {"etc/glibc": b""})
    images = [
        ("busybox:latest", busybox, config([busybox])),
        ("busybox:glibc", other, config([other])),
        ("hello-world:latest", hello, config([hello], Cmd=["/hello"])),
        ("arm32v7/hello-world:latest", hello, arm.encode()),
        ("debian:bullseye-slim", debian, config([debian], Cmd=["bash"])),
    ]
    manifest = []
    for name, layer, document in images:
        layer_at, config_at = f"{digest(layer)[7:]}/layer.tar", f"{digest(document)[7:]}.json"
        (place / layer_at).parent.mkdir(exist_ok=True)
        (place / layer_at).write_bytes(layer)
        (place / config_at).write_bytes(document)
        manifest.append({"Config": config_at, "RepoTags": [name], "Layers": [layer_at]})
    (place / "manifest.json").write_text(json.dumps(manifest))


def _with(layer: bytes, files: Mapping[str, bytes]) -> bytes:
    """The layer with these files over its own."""
    out = io.BytesIO(layer)
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name, data in files.items():
            tar.addfile(entry(name, mode=0o644, size=len(data)), io.BytesIO(data))
    return out.getvalue()


def _hello() -> bytes:
    with TemporaryDirectory() as made:
        source, program = Path(made, "hello.c"), Path(made, "hello")
        source.write_text(_HELLO)
        subprocess.run(["gcc", "-static", "-Os", "-s", source, "-o", program], check=True)
        return tarball([(entry("hello"), program.read_bytes())])


def _debian() -> bytes:
    with TemporaryDirectory() as made:
        root = Path(made, "root")
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True)
        for leavings in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / leavings)
            (root / leavings / "partial").mkdir(parents=True)
        packed = ["tar", "-C", str(root), "--numeric-owner", "-c", "."]
        return subprocess.run(packed, check=True, capture_output=True).stdout
