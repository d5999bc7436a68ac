"""`changes` of a commit or import: the instructions of a Dockerfile that alter a configuration only, pure.

Source: BuildFromConfig of dockerd 20.10.24, whose list lacks SHELL and STOPSIGNAL.
"""

from collections.abc import Sequence

from lighterman.apitypes.container import ContainerConfig

_ALLOWED = frozenset(
    [
        "cmd",
        "entrypoint",
        "env",
        "expose",
        "healthcheck",
        "label",
        "onbuild",
        "shell",
        "stopsignal",
        "user",
        "volume",
        "workdir",
    ]
)


def changed(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """The configuration after the instructions, each on a line of its own.

    Raises: InvalidParameter in Docker's words.
    """
    if not changes:
        return config
    # It takes 2 MB, which an engine that builds nothing shall not have.
    from lighterman.lib.dockerfile import Cmd, configured, environment, expanded, parse_changes

    instructions, escape = parse_changes("\n".join(changes), _ALLOWED)
    cmd_given = False
    for instruction in instructions:
        read = expanded(instruction, environment(config.env), escape)
        config = configured(config, read, keeps_cmd=cmd_given)
        cmd_given |= isinstance(instruction, Cmd) and bool(instruction.arguments)
    return config
