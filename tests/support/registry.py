"""The distribution's docker-registry on loopback, and how images get into it."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.images import digest
from tests.support.net import Neighbourhood
from tests.support.waiting import until

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


class Registry:
    """A registry at 127.0.0.1:`port` of one neighbourhood; several may serve one `storage`."""

    def __init__(self, net: Neighbourhood, storage: Path, port: int = 5000) -> None:
        self.net, self.storage, self.port = net, storage, port
        self.name = f"127.0.0.1:{port}"
        settings = storage / f"registry-{net.name}.json"  # JSON is YAML
        settings.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "error", "accesslog": {"disabled": True}},
                    "storage": {
                        "filesystem": {"rootdirectory": str(storage)},
                        "delete": {"enabled": True},
                    },
                    "http": {"addr": self.name},
                }
            )
        )
        self.process = subprocess.Popen(
            net.entered(["docker-registry", "serve", str(settings)]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self.listens, what="the registry to listen", process=self.process)

    def listens(self) -> bool:
        """Whether it takes connections."""
        try:
            self.net.connect(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def push(self, archive: Path, name: str, *, form: str = "v2s2") -> str:
        """Put a docker-save archive under `name`, as "v2s2" or "oci"; the name to pull it by."""
        subprocess.run(
            self.net.entered(
                [
                    "skopeo",
                    "copy",
                    "--quiet",
                    "--insecure-policy",
                    "--dest-tls-verify=false",
                    f"--format={form}",
                    f"docker-archive:{archive}",
                    f"docker://{self.name}/{name}",
                ]
            ),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return f"{self.name}/{name}"

    def curl(self, *args: str, data: bytes = b"") -> bytes:
        """What curl gets from this registry; the last argument is a path below /v2/."""
        *options, path = args
        told = subprocess.run(
            self.net.entered(["curl", "-fsS", *options, f"http://{self.name}/v2/{path}"]),
            input=data,
            check=True,
            capture_output=True,
        )
        return told.stdout

    def manifest(self, repository: str, tag: str, kind: str) -> bytes:
        """The bytes of one manifest."""
        return self.curl("-H", f"Accept: {kind}", f"{repository}/manifests/{tag}")

    def put_list(
        self, repository: str, tag: str, members: Sequence[tuple[str, dict[str, str]]], *, kind: str
    ) -> str:
        """Put a list over manifests (by their tags) with their platforms; the name to pull it by."""
        inner = MANIFEST if kind == MANIFEST_LIST else OCI_MANIFEST
        entries: list[dict[str, Any]] = []
        for member, platform in members:
            data = self.manifest(repository, member, inner)
            entries.append(
                {"mediaType": inner, "size": len(data), "digest": digest(data), "platform": platform}
            )
        document = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
        self.curl(
            *("-X", "PUT", "-H", f"Content-Type: {kind}", "--data-binary", "@-"),
            f"{repository}/manifests/{tag}",
            data=document,
        )
        return f"{self.name}/{repository}:{tag}"

    def close(self) -> None:
        """End it; the storage stays."""
        self.process.terminate()
        self.process.wait()
