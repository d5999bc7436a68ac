"""What lies below the data root of dockerd, read from its files. Blocking; nothing there is changed.

```
image/overlay2/imagedb/content/sha256/<hex>         configurations; metadata/sha256/<hex>/parent beside
image/overlay2/layerdb/sha256/<chain>/              a layer: cache-id, size, tar-split.json.gz
image/overlay2/repositories.json                    names: tags and digests, by repository
overlay2/<cache id>/diff                            a layer's files
volumes/<name>/_data, opts.json; metadata.db        volumes; their drivers and labels in the book
```
Source: image/fs.go, layer/filestore.go, reference/store.go, volume/local and volume/service of moby 20.10.
"""

import fcntl
import gzip
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct, field

from lighterman.content import open_in_root
from lighterman.errdefs import EngineError, System
from lighterman.images.image import image_id, read_document
from lighterman.lib.bolt import BoltError, File
from lighterman.lib.tar_split import TarSplitError, assembled
from lighterman.reference import Reference, parse_reference
from lighterman.snapshots import chain_ids

DRIVER = "overlay2"
"""The only storage driver of dockerd whose directories hold what tar-split has taken them for."""
_REMAPPED = re.compile(r"\d+\.\d+")
"""What dockerd calls the directory below its data root that it uses with userns-remap."""


class DockerImage(Struct, frozen=True):
    """An image of dockerd's."""

    id: str
    raw: bytes
    names: tuple[Reference, ...]
    parent: str
    size_bytes: int
    """Of the files in its layers."""
    fault: str = ""
    """Why it cannot be taken over."""

    @property
    def title(self) -> str:
        """A line's begin for people: its id, and what it is called."""
        return " ".join([self.id[7:19], *(name.familiar() for name in self.names)])


class DockerVolume(Struct, frozen=True):
    """A volume of dockerd's."""

    name: str
    data: Path
    created_ns: int
    driver: str = "local"
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    """Why it cannot be taken over."""

    @property
    def is_mounted(self) -> bool:
        """Whether its data is what its options name, and not in its directory."""
        return bool(self.options.get("device"))

    def size_bytes(self) -> int:
        """On the disk; what is mounted there counts nothing. Blocks as long as the tree is large."""
        if self.is_mounted or not self.data.is_dir():
            return 0
        return sum(
            os.lstat(os.path.join(directory, name)).st_blocks * 512
            for directory, directories, files in os.walk(self.data)
            for name in (*directories, *files)
        )

    def copy_to(self, target: Path) -> None:
        """Copy the data with owners, times, links, holes, ACLs and xattrs. Raises: System.

        cp(1) does all of it, and shares blocks where the file system can.
        """
        if self.is_mounted:
            target.mkdir(mode=0o755)
            return
        copy = ["cp", "-aT", "--preserve=mode,ownership,timestamps,links,xattr", "--reflink=auto"]
        done = subprocess.run(
            [*copy, "--", self.data.resolve(), target], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise System(f"cannot copy {self.data}: {done.stderr.strip()}")


class DockerRoot:
    """The data root of a dockerd that rests."""

    def __init__(self, root: Path) -> None:
        """Raises: System: there is none, or its images are kept in a way that is not known."""
        self._root, self._images = root, root / "image" / DRIVER
        kinds = sorted(path.name for path in root.glob("image/*"))
        if not (root / "volumes").is_dir() and not kinds:
            raise System(f"{root} is no data root of dockerd")
        if kinds and DRIVER not in kinds:
            raise System(f"the images below {root} are of the storage driver {kinds[0]}, not of {DRIVER}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep dockerd from starting while the block lasts. Raises: System: it runs.

        dockerd locks the book of its volumes as long as it lives.
        """
        try:
            book = (self._root / "volumes" / "metadata.db").open("rb")
        except FileNotFoundError:
            yield
            return
        with book:
            try:
                fcntl.flock(book, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise System(f"dockerd runs on {self._root}: stop it first, and its containers") from error
            yield

    def containers(self) -> int:
        """How many containers there are, none of which is taken over."""
        return sum(1 for path in (self._root / "containers").glob("*/config.v2.json"))

    # --- images ---

    def has_images(self) -> bool:
        """Whether there are any; those of the containerd image store are not below this root."""
        return any((self._images / "imagedb" / "content" / "sha256").glob("*"))

    def images(self) -> Iterator[DockerImage]:
        """All images, those without a name too. Raises: System (the names cannot be read)."""
        names = self._names()
        for file in sorted((self._images / "imagedb" / "content" / "sha256").glob("*")):
            yield self._image(f"sha256:{file.name}", file.read_bytes(), names)

    def _image(self, id: str, raw: bytes, names: dict[str, list[Reference]]) -> DockerImage:
        parent = _text(self._images / "imagedb" / "metadata" / "sha256" / id[7:] / "parent")
        size, fault = 0, ""
        try:
            document = read_document(raw)
            chain = chain_ids(document.rootfs.diff_ids if document.rootfs else ())
            size = sum(int(_text(self._layer(chain_id) / "size") or 0) for chain_id in chain)
            if image_id(raw) != id:
                fault = "cannot be taken: its configuration is not what its id says"
            elif lost := [chain_id for chain_id in chain if not self._layer(chain_id).is_dir()]:
                fault = f"cannot be taken: layer {lost[0]} is lost"
        except EngineError as error:
            fault = f"cannot be taken: {error}"
        return DockerImage(id, raw, tuple(names.get(id, ())), parent, size, fault)

    def _names(self) -> dict[str, list[Reference]]:
        """Tags and digests by the id of the image. Raises: System."""
        book = self._images / "repositories.json"
        found: dict[str, list[Reference]] = {}
        try:
            repositories = json.loads(_text(book) or "{}").get("Repositories") or {}
            for named in repositories.values():
                for text, id in named.items():
                    found.setdefault(id, []).append(parse_reference(text))
        except (ValueError, AttributeError, EngineError) as error:
            raise System(f"{book} cannot be read: {error}") from error
        return found

    def tar(self, chain_id: str) -> Iterator[bytes]:
        """The tar of a layer, to the byte, piece by piece. Raises: System."""
        layer = self._layer(chain_id)
        try:
            files = os.open(self._root / DRIVER / _text(layer / "cache-id") / "diff", os.O_PATH)
            try:
                with gzip.open(layer / "tar-split.json.gz") as lines:
                    yield from assembled(lines, partial(_opened, files))
            finally:
                os.close(files)
        except (OSError, EOFError, TarSplitError) as error:
            raise System(f"layer {chain_id} cannot be read: {error}") from error

    def _layer(self, chain_id: str) -> Path:
        return self._images / "layerdb" / "sha256" / chain_id.removeprefix("sha256:")

    # --- volumes ---

    def volumes(self) -> Iterator[DockerVolume]:
        """All volumes, those of plugins too. Raises: System (the book cannot be read)."""
        known = self._volumes_book
        there = [path.name for path in (self._root / "volumes").glob("*") if (path / "_data").is_dir()]
        for name in sorted({*known, *there}):
            yield self._volume(name, known.get(name, {}))

    def _volume(self, name: str, known: dict[str, Any]) -> DockerVolume:
        directory = self._root / "volumes" / name
        data, driver = directory / "_data", known.get("Driver") or "local"
        fault = ""
        if driver != "local":
            fault = f"cannot be taken: it is the driver {driver}'s"
        elif _REMAPPED.fullmatch(self._root.name):
            fault = "cannot be taken: its owners are shifted by userns-remap"
        elif not data.is_dir():
            fault = "cannot be taken: its directory is lost"
        created = data.stat().st_mtime_ns if data.is_dir() else 0
        options = known.get("Options") or _options(directory)
        return DockerVolume(name, data, created, driver, options, known.get("Labels") or {}, fault)

    @cached_property
    def _volumes_book(self) -> dict[str, dict[str, Any]]:
        """What dockerd remembers of each volume: Driver, Labels, Options. Raises: System."""
        book = self._root / "volumes" / "metadata.db"
        try:
            bucket = File(book.read_bytes()).root.bucket(b"volumes")
            items = bucket.items() if bucket else ()
            return {key.decode(): json.loads(value) for key, value in items if isinstance(value, bytes)}
        except FileNotFoundError:
            return {}
        except (OSError, BoltError, ValueError) as error:
            raise System(f"{book} cannot be read: {error}") from error


def _options(directory: Path) -> dict[str, str]:
    """The options of a volume that is in no book, from where its driver keeps them."""
    try:
        kept = json.loads(_text(directory / "opts.json") or "{}")
    except ValueError as error:
        raise System(f"{directory / 'opts.json'} cannot be read: {error}") from error
    named = {"type": "MountType", "o": "MountOpts", "device": "MountDevice"}
    return {option: kept[key] for option, key in named.items() if kept.get(key)}


def _opened(files: int, name: bytes) -> BinaryIO:
    """A file of a layer; links on the way stay inside of it, as when it was unpacked."""
    return os.fdopen(open_in_root(files, name, os.O_RDONLY), "rb")


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""
