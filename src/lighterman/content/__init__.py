"""Bytes by digest, and the processes that move them.

Three words. A *blob* is a file named by its digest; an *ingest* is a directory of unfinished work that one
rename makes visible; a *job* is what a worker process does for the daemon: download, verify, unpack,
count, remove, pack a container's files and put some there. Workers are forked by a helper that is started
when first needed and rests when it has nothing to do. What blobs mean is known above: `snapshots` has
layers, `images` has manifests.
"""

from lighterman.content.blobs import Content
from lighterman.content.connection import BadCertificates, tls_context
from lighterman.content.jobs import (
    BlobMember,
    Change,
    ChangeKind,
    CountUsage,
    Download,
    EmptyDirectory,
    JobFailed,
    Layer,
    LinkMember,
    ListChanges,
    Member,
    OpenFile,
    PackLayer,
    PackPath,
    PackTree,
    PathStat,
    PutArchive,
    SaveArchive,
    SpoolArchive,
    Spooled,
    StatPath,
    Step,
    TextMember,
    UnpackLayer,
    Upload,
    Via,
    finishing_url,
    spooled_name,
)
from lighterman.content.pipes import fed, read_prelude, written
from lighterman.content.view import Place, View
from lighterman.content.workers import Workers

__all__ = [
    "BadCertificates",
    "BlobMember",
    "Change",
    "ChangeKind",
    "Content",
    "CountUsage",
    "Download",
    "EmptyDirectory",
    "JobFailed",
    "Layer",
    "LinkMember",
    "ListChanges",
    "Member",
    "OpenFile",
    "PackLayer",
    "PackPath",
    "PackTree",
    "PathStat",
    "Place",
    "PutArchive",
    "SaveArchive",
    "SpoolArchive",
    "Spooled",
    "StatPath",
    "Step",
    "TextMember",
    "UnpackLayer",
    "Upload",
    "Via",
    "View",
    "Workers",
    "fed",
    "finishing_url",
    "read_prelude",
    "spooled_name",
    "tls_context",
    "written",
]
