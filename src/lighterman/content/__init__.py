"""Bytes by digest, and the processes that move them.

Three words. A *blob* is a file named by its digest; an *ingest* is a directory of unfinished work that one
rename makes visible; a *job* is what a worker process does for the daemon: download, verify, unpack,
count, remove. Workers are forked by a helper that is started when first needed and rests when it has
nothing to do. What blobs mean is known above: `snapshots` has layers, `images` has manifests.
"""

from lighterman.content.blobs import Content
from lighterman.content.jobs import (
    CountUsage,
    Download,
    EmptyDirectory,
    JobFailed,
    Layer,
    OpenFile,
    SpoolArchive,
    Spooled,
    Step,
    UnpackLayer,
    spooled_name,
)
from lighterman.content.workers import Workers

__all__ = [
    "Content",
    "CountUsage",
    "Download",
    "EmptyDirectory",
    "JobFailed",
    "Layer",
    "OpenFile",
    "SpoolArchive",
    "Spooled",
    "Step",
    "UnpackLayer",
    "Workers",
    "spooled_name",
]
