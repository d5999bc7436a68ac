"""The manual page lighterman(8), made from the options: run it with the engine's Python to print the page."""

import json
from typing import Any

import msgspec

from lighterman import __version__
from lighterman.daemon.config import FIXED, REFUSED, Option, options

HEAD = r""".TH LIGHTERMAN 8 "" "Lighterman {version}" "System administration"
.SH NAME
lighterman \- a Docker Engine
.SH SYNOPSIS
.B lighterman daemon
.RI [ options ]
.br
.B lighterman check
.RB [ \-\-json ]
.br
.B lighterman import\-docker
.RB [ \-\-from
.IR directory ]
.RB [ \-\-dry\-run ]
.br
.B lighterman swarm backup
.I file
.br
.B lighterman swarm restore
.I file
.br
.B lighterman version
.SH DESCRIPTION
.B lighterman daemon
serves the Docker Engine API, so that
.BR docker (1)
and its relatives work unchanged. It stays in the foreground; containers and what they say outlive it, also
when it is killed.
.B lighterman check
tells what this host offers for it, and what to install.
.B lighterman import\-docker
takes over the images and volumes of dockerd's data root, while neither engine runs.
.B lighterman swarm backup
writes the swarm of the manager that runs here to a file, and
.B lighterman swarm restore
lays it down for an engine that is stopped.
.PP
Options are dockerd's, on the command line and in
.IR /etc/docker/daemon.json ,
each in one place only.
.B lighterman daemon \-\-validate
checks them without starting. What has no effect is refused by its name at the start.
.SH OPTIONS
"""
TAIL = r""".SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Stop in order; containers go on. A second one does not wait.
.TP
.B SIGHUP
Read the options anew and bring in what can act at once; the rest is named in the log.
.TP
.B SIGUSR1
Write the stacks of all tasks and threads to a file in the exec root.
.SH FILES
.TP
.I /etc/docker/daemon.json
Options; see \-\-config\-file.
.TP
.I /etc/docker/certs.d
What is trusted of registries.
.TP
.I /var/lib/lighterman
Images, volumes, writable layers and the rows of the engine; see \-\-data\-root.
.TP
.I /run/lighterman
What runs; see \-\-exec\-root.
.SH EXIT STATUS
0 after an orderly stop, 1 when the engine cannot start, 2 when the command line is wrong.
.SH SEE ALSO
.BR docker (1),
.BR crun (1),
.BR runc (8),
.BR nft (8)
"""


def manual() -> str:
    """The text of the page."""
    return HEAD.replace("{version}", __version__) + "".join(map(_entry, options())) + _beyond() + TAIL


def _entry(option: Option) -> str:
    short = rf"\fB\-{option.flag.short}\fR, " if option.flag.short else ""
    key = "" if option.key == option.flag.name else f" In the file: {option.key}."
    several = " May be given several times." if option.repeatable else ""
    text = f"{option.flag.help}.{several}{key} Default: {_shown(option.default)}."
    return f".TP\n{short}\\fB\\-\\-{_roff(option.flag.name)}\\fR\n{_roff(text)}\n"


def _beyond() -> str:
    fixed = "; ".join(f"{key}: {' or '.join(map(_shown, values))}" for key, values in FIXED.items())
    refused = "; ".join(f"{key}: {reason}" for key, reason in sorted(REFUSED.items()))
    return (
        ".SH OPTIONS OF DOCKERD\n"
        f"Accepted with what happens here anyway: {_roff(fixed)}.\n.PP\nRefused: {_roff(refused)}.\n"
    )


def _shown(value: Any) -> str:
    return json.dumps(msgspec.to_builtins(value))


def _roff(text: str) -> str:
    """Text whose signs mean nothing to roff."""
    return text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")


if __name__ == "__main__":
    print(manual(), end="")
