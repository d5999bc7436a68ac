"""Dockerfiles: from bytes to instructions as values, and what these make of a configuration. Pure.

The way of a text: `source` joins lines into statements (directives, comments, continued lines, heredocs),
`forms` reads flags, JSON lists and pairs, `parser` makes `instructions` and stages of them. As the build
goes, `instructions.expanded` puts in the values of variables by `words`, and `configure` says what becomes of
the configuration and what stands in the history.

    dockerfile = parse(b"FROM busybox\\nENV A=1\\nCMD echo $A")
    env, cmd = dockerfile.stages[0].instructions
    config = configured(config, expanded(env, {}, dockerfile.escape), keeps_cmd=False)

It lies below images and builds, as both need it: `docker commit --change` and `docker import --change` are
instructions, too. Graphs, caches and containers are the business of `build`.
"""

from lighterman.lib.dockerfile.configure import (
    DEFAULT_SHELL,
    command_line,
    comment,
    configured,
    environment,
)
from lighterman.lib.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    CommandLine,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    Transfer,
    User,
    Volume,
    Workdir,
    expanded,
    request_label,
)
from lighterman.lib.dockerfile.mounts import RunMount
from lighterman.lib.dockerfile.parser import Dockerfile, Stage, parse, parse_changes, parse_trigger
from lighterman.lib.dockerfile.source import Heredoc
from lighterman.lib.dockerfile.words import expand, expand_words

__all__ = [
    "DEFAULT_SHELL",
    "Add",
    "Arg",
    "Cmd",
    "CommandLine",
    "Copy",
    "Dockerfile",
    "Entrypoint",
    "Env",
    "Expose",
    "From",
    "Healthcheck",
    "Heredoc",
    "Instruction",
    "Label",
    "Maintainer",
    "Onbuild",
    "Run",
    "RunMount",
    "Shell",
    "Stage",
    "StopSignal",
    "Transfer",
    "User",
    "Volume",
    "Workdir",
    "command_line",
    "comment",
    "configured",
    "environment",
    "expand",
    "expand_words",
    "expanded",
    "parse",
    "parse_changes",
    "parse_trigger",
    "request_label",
]
