"""Bytes by digest, and the processes that move them.

Three words. A *blob* is a file named by its digest; an *ingest* is a directory of unfinished work that one
rename makes visible; a *job* is what a worker process does for the daemon: download, verify, unpack,
count, remove, pack a container's files and put some there. Workers are forked by a helper that is started
when first needed and rests when it has nothing to do. What blobs mean is known above: `snapshots` has
layers, `images` has manifests.
"""

from lighterman.content.blobs import Content
from lighterman.content.jobs import (
    Change,
    ChangeKind,
    CountUsage,
    Download,
    EmptyDirectory,
    JobFailed,
    Layer,
    ListChanges,
    OpenFile,
    PackPath,
    PackTree,
    PathStat,
    PutArchive,
    SpoolArchive,
    Spooled,
    StatPath,
    Step,
    UnpackLayer,
    spooled_name,
)
from lighterman.content.pipes import fed, written
from lighterman.content.view import Place, View
from lighterman.content.workers import Workers

__all__ = [
    "Change",
    "ChangeKind",
    "Content",
    "CountUsage",
    "Download",
    "EmptyDirectory",
    "JobFailed",
    "Layer",
    "ListChanges",
    "OpenFile",
    "PackPath",
    "PackTree",
    "PathStat",
    "Place",
    "PutArchive",
    "SpoolArchive",
    "Spooled",
    "StatPath",
    "Step",
    "UnpackLayer",
    "View",
    "Workers",
    "fed",
    "spooled_name",
    "written",
]
