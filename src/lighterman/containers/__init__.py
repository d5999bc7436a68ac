"""Containers: what a client wished, what is, and the verbs that lead from one to the other.

Three words. A *wish* is the Struct that came in, kept as it came; a *life* is what is (`life.py`), an
algebraic state that moves along one table; a *plan* is a pure function's answer (`plan_create`,
`plan_start`): it decides and refuses before anything has happened. A verb (`create`, `start`, `stop`, ...)
takes the container's lock, plans, acts with every effect undoable, and records last. `Containers` is the
room's state; `view.py` computes what the API shows from wish and life.

A process that ends comes back through `exited.on_exit`; a start of the engine is `reconcile`.
"""

from lighterman.containers.archive import archive, path_stat, put_archive
from lighterman.containers.attach import AttachOptions, attach, resize
from lighterman.containers.changes import changes
from lighterman.containers.commit import CommitOptions, commit
from lighterman.containers.create import create, keep
from lighterman.containers.defaults import Defaults
from lighterman.containers.exec import exec_create, exec_inspect, exec_resize, exec_start
from lighterman.containers.exited import on_detach, on_exec_exit, on_exit
from lighterman.containers.export import export
from lighterman.containers.given_files import GivenFile
from lighterman.containers.identity import group_number, user_number
from lighterman.containers.kill import kill
from lighterman.containers.list import list_containers, states
from lighterman.containers.log_options import resolve_log_config
from lighterman.containers.log_plugins import check_driver
from lighterman.containers.logs import LogOptions, logs
from lighterman.containers.networking import connect, disconnect
from lighterman.containers.pause import pause, unpause
from lighterman.containers.prune import prune
from lighterman.containers.reconcile import reconcile
from lighterman.containers.remove import remove
from lighterman.containers.rename import rename
from lighterman.containers.restart import restart
from lighterman.containers.rootfs import check_mount_points, make_directory, read_text
from lighterman.containers.signals import parse_signal
from lighterman.containers.start import start
from lighterman.containers.state import Container, Containers, Settings
from lighterman.containers.stats import stats, stats_stream, uncompared
from lighterman.containers.stop import stop
from lighterman.containers.top import top
from lighterman.containers.unlink import unlink
from lighterman.containers.update import update
from lighterman.containers.view import inspect
from lighterman.containers.wait import wait

__all__ = [
    "AttachOptions",
    "CommitOptions",
    "Container",
    "Containers",
    "Defaults",
    "GivenFile",
    "LogOptions",
    "Settings",
    "archive",
    "attach",
    "changes",
    "check_driver",
    "check_mount_points",
    "commit",
    "connect",
    "create",
    "disconnect",
    "exec_create",
    "exec_inspect",
    "exec_resize",
    "exec_start",
    "export",
    "group_number",
    "inspect",
    "keep",
    "kill",
    "list_containers",
    "logs",
    "make_directory",
    "on_detach",
    "on_exec_exit",
    "on_exit",
    "parse_signal",
    "path_stat",
    "pause",
    "prune",
    "put_archive",
    "read_text",
    "reconcile",
    "remove",
    "rename",
    "resize",
    "resolve_log_config",
    "restart",
    "start",
    "states",
    "stats",
    "stats_stream",
    "stop",
    "top",
    "uncompared",
    "unlink",
    "unpause",
    "update",
    "user_number",
    "wait",
]
