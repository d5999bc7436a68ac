"""What a worker process may be asked, what it reports and what it answers: values on the wire between them.

A job comes with open files. The first is the directory that it works in, a fresh one below `ingest/` for
whatever writes; a job knows no path outside of it. What it leaves there becomes visible only when the
daemon moves it to its place.
"""

import enum
import hashlib
import os
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from lighterman.content.view import View

R = TypeVar("R")


class Via(Struct, frozen=True):
    """How a host is reached."""

    verify_tls: bool = True
    certificates: str = ""
    """A directory as dockerd's certs.d has one for each host: authorities and client certificates."""


class Download(Struct, frozen=True, tag=True):
    """From a registry. `headers` may hold credentials: never log one of these."""

    url: str
    headers: dict[str, str] = {}
    via: Via = Via()
    attempts: int = 5
    """Connections without a MiB of progress between them, before it is given up."""


class OpenFile(Struct, frozen=True, tag=True):
    """From the second open file that came with the job: a file, a pipe or a socket."""


class Job(Struct, Generic[R], frozen=True, tag=True):
    """A job whose answer is an R."""


class Layer(Struct, frozen=True, tag=True):
    """What became of a layer. The directory now holds `blob` and `diff`."""

    digest: str
    """Of the blob."""
    blob_bytes: int
    media_type: str
    diff_id: str
    size_bytes: int
    """Sum of its files."""
    tar_bytes: int
    """Of the tar that the blob holds."""


class UnpackLayer(Job[Layer], frozen=True, tag=True):
    """Fetch, verify, keep and unpack a layer in one pass.

    What came as gzip or zstd is kept as it came, all else is compressed. An empty digest or diff id and a
    size of -1 are not known beforehand.
    """

    source: Download | OpenFile
    digest: str = ""
    size: int = -1
    diff_id: str = ""


NOT_THE_DIGESTS = "filesystem layer verification failed for digest"
NOT_THE_CONFIGS = "layers from manifest don't match image configuration: layer"
"""What is said of a layer that is not what was announced; then follows what it should have been."""


class Spooled(Struct, frozen=True, tag=True):
    """All members are in their files."""

    files: int


def spooled_name(name: str) -> str:
    """The file of the member `name`: one directory without subdirectories has no way out."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()


class SpoolArchive(Job[Spooled], frozen=True, tag=True):
    """Write the regular files of the archive in the second open file, each to its `spooled_name`."""


class Counted(Struct, frozen=True, tag=True):
    size_bytes: int
    inodes: int


class CountUsage(Job[Counted], frozen=True, tag=True):
    """Bytes and inodes below the directory, hard links once."""


class Removed(Struct, frozen=True, tag=True):
    """Nothing is left."""


class EmptyDirectory(Job[Removed], frozen=True, tag=True):
    """Remove everything below the directory."""


class PathStat(Struct, frozen=True, tag=True):
    """What a path is, by lstat(2)."""

    size: int
    mode: int
    """As st_mode."""
    mtime_ns: int
    link: bytes = b""
    """Of a symbolic link: where it leads to in its root, with all links followed."""


PRELUDE_LENGTH_BYTES = 4
"""A prelude is the length of a PathStat, and it as msgpack."""


class StatPath(Job[PathStat], frozen=True, tag=True):
    """Look at `path` in the root that `view` and the open files make.

    Fails with "missing" and "no_directory".
    """

    view: View
    path: bytes


class Written(Struct, frozen=True, tag=True):
    """The last open file has everything."""


class PackPath(Job[Written], frozen=True, tag=True):
    """Write the archive of `path` to the last open file, behind its PathStat in a `prelude`.

    The entry of `path` itself is called `name`. What lies in the directories `closed` is left out. Fails with
    "missing" and "no_directory" before anything is written.
    """

    view: View
    path: bytes
    name: bytes
    closed: tuple[bytes, ...] = ()
    gzip: bool = False


class PackTree(Job[Written], frozen=True, tag=True):
    """Write the archive of all that is in the first open file, a directory, to the last one."""

    mapped: bool = False
    """With owners as the user namespace of the second one sees them."""


class Put(Struct, frozen=True, tag=True):
    """Everything is in its place."""


class PutArchive(Job[Put], frozen=True, tag=True):
    """Unpack the archive in the last open file, in whatever compression, into the directory `path` of a root.

    Fails with "missing", "no_directory", "read_only" or "read_only_root" before anything is changed, and with
    "damaged" or "refused" where it is in the archive.
    """

    view: View
    path: bytes
    keep_kinds: bool = False
    """A directory is not replaced by something else, nor the other way round."""
    owner: tuple[int, int] | None = None
    """Whose everything is to be; None: as the archive says."""


class ChangeKind(enum.IntEnum):
    """As the API counts them."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(Struct, frozen=True, array_like=True):
    """What became of a path, which is absolute."""

    path: bytes
    kind: ChangeKind


class ListChanges(Job[Written], frozen=True, tag=True):
    """Compare the first open file, a writable layer, with the second, a root that shows all below it.

    The list of all `Change`s is written to the last open file, as msgpack.
    """


class TextMember(Struct, frozen=True, tag=True, array_like=True):
    """A small file of an archive, or with a slash at the end a directory."""

    name: str
    data: bytes = b""
    mtime_ns: int = 0


class LinkMember(Struct, frozen=True, tag=True, array_like=True):
    """A symbolic link."""

    name: str
    target: str
    mtime_ns: int = 0


class BlobMember(Struct, frozen=True, tag=True, array_like=True):
    """A file with the unpacked content of a blob."""

    name: str
    digest: str
    tar_bytes: int
    """Of the content."""


Member = TextMember | LinkMember | BlobMember


class SaveArchive(Job[Written], frozen=True, tag=True):
    """Write a tar to the last open file; the first is the directory of all blobs.

    The second holds the list of its `Member`s, as msgpack: configurations may be too long for a message.
    """


class PackLayer(Job[Written], frozen=True, tag=True):
    """Write the tar of a layer to the last open file; the first is the writable layer in overlay's form."""


class KeepLayer(Job[Layer], frozen=True, tag=True):
    """Make the blob of a layer out of the second open file, a writable layer in overlay's form.

    Its files stay where they are, to be moved to `diff` beside the `blob`. What is empty and at the relative
    paths `stubs` was made to mount on, and goes.
    """

    stubs: tuple[bytes, ...] = ()


class ContextUnpacked(Struct, frozen=True, tag=True):
    """The directory now holds `root`, and in `sums` the digests of everything in it."""

    entries: int
    size_bytes: int


class UnpackContext(Job[ContextUnpacked], frozen=True, tag=True):
    """Unpack the archive in the second open file, in whatever compression: the context of a build.

    Everything belongs to root, whoever it was; the digests tell.
    """


class Source(Struct, frozen=True, tag=True, array_like=True):
    """A file or directory that a build copies."""

    path: bytes
    """Where it is in its root, relative, with all links followed."""
    name: bytes
    """What it is called if it goes into a directory."""
    digest: str
    """"file:..." or "dir:..." of all that is in it."""
    unpack: bool = False
    """An archive is not copied, but what is in it."""


class FindSources(Job[Written], frozen=True, tag=True):
    """Look in the root in the first open file for what `patterns` mean, and write a list of `Source`s.

    The second one holds the digests that a context came with; without `has_sums` they are computed. The
    answer goes to the last one, as msgpack. Fails with "missing" and "outside", and says which.
    """

    patterns: tuple[bytes, ...]
    has_sums: bool = False
    unpack: bool = False


class CopySources(Job[Written], frozen=True, tag=True):
    """Copy into the root in the first open file what is in the one in the second; the third lists `Source`s.

    `target` is an absolute path; with a slash at the end it is a directory. `owner` None: whose it was.
    """

    target: bytes
    owner: tuple[int, int] | None
    mode: int | None = None
    """Of everything; None: as it was."""


class MergeLayers(Job[Written], frozen=True, tag=True):
    """Put layers into the first open file, an empty one, as if they had been one. The lowest comes second."""


class Uploaded(Struct, frozen=True, tag=True):
    """The registry has the blob."""


class Upload(Job[Uploaded], frozen=True, tag=True):
    """Send the first open file, a blob of `size` bytes, to the upload that was begun at `url`.

    In chunks of so many bytes, or all at once where that is less, or with 0. `headers` may hold credentials.
    """

    url: str
    digest: str
    size: int
    chunk_bytes: int = 0
    headers: dict[str, str] = {}
    via: Via = Via()


def finishing_url(place: str, digest: str) -> str:
    """Where the last request of an upload goes, that says what it was."""
    return f"{place}{'&' if urlsplit(place).query else '?'}digest={digest}"


class Step(Struct, frozen=True, tag=True):
    """How far a job is. `total` 0: not known. `member`: with what part of an archive."""

    action: str
    current: int
    total: int
    member: str = ""


DOWNLOADING, VERIFYING, DOWNLOADED, EXTRACTING, PUSHING = (
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Pushing",
)


def retrying(left_s: int) -> str:
    """The action of a Step while a broken connection rests. Source: dockerd 20.10.24, xfer."""
    return f"Retrying in {left_s} second{'' if left_s == 1 else 's'}"


ARRIVED = "Arrived"
"""A member of an archive that looks like a layer is in its file."""


class Begun(Struct, frozen=True, tag=True):
    """The first thing a job's process says; its pidfd comes with it."""


class Failed(Struct, frozen=True, tag=True):
    """The last thing: it did not work. `kind` is one of the names in `JobFailed`."""

    kind: str
    message: str
    status: int = 0


class JobFailed(Exception):
    """A worker's job did not work.

    `kind`: "refused" (hostile or too big), "damaged" (no archive), "mismatch" (not what the digest says),
    "registry" (with the HTTP `status`, 0 for none), "system" (disk full, ...), and what the job itself names.
    """

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.kind = failed.kind
        self.status = failed.status


AnyJob = (
    UnpackLayer
    | SpoolArchive
    | CountUsage
    | EmptyDirectory
    | StatPath
    | PackPath
    | PackTree
    | PutArchive
    | ListChanges
    | SaveArchive
    | PackLayer
    | Upload
    | KeepLayer
    | UnpackContext
    | FindSources
    | CopySources
    | MergeLayers
)
Answer = Layer | Spooled | Counted | Removed | PathStat | Written | Put | Uploaded | ContextUnpacked
Message = Begun | Step | Failed | Answer
