"""Zygote, monitors and OCI runtimes.

Three words. The *OCI runtime* (crun, runc) makes a container and goes away. The *monitor* is a tiny process,
one per container and per exec, that owns the stdio of the container's process: it writes the log, serves
clients on their own sockets, and leaves an `exit` file; it outlives the daemon. The *zygote* is a warm
interpreter that forks monitors in milliseconds; it dies with its daemon. `Runtime` is the daemon's side.
A log that is sent is sent by a *helper* of the monitor (`shipper`, `drivers`).
"""

from lighterman.runtime.outcomes import (
    Exit,
    Lost,
    NotStartable,
    ProcessGone,
    Recovered,
    Running,
    StartBroke,
    StartFailed,
)
from lighterman.runtime.runtime import Runtime
from lighterman.runtime.streams import AttachTo, Client, LogFile, ProcessIO, Shipped

__all__ = [
    "AttachTo",
    "Client",
    "Exit",
    "LogFile",
    "Lost",
    "NotStartable",
    "ProcessGone",
    "ProcessIO",
    "Recovered",
    "Running",
    "Runtime",
    "Shipped",
    "StartBroke",
    "StartFailed",
]
