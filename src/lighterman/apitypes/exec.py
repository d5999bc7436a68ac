"""A further process in a running container. Source: the Exec operations of the API."""

from msgspec import field

from lighterman.apitypes.wire import Wire


class ExecCreateBody(Wire, frozen=True):
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    console_size: list[int] | None = None  # 1.42: rows, columns


class ExecCreateResponse(Wire, frozen=True):
    id: str


class ExecStartBody(Wire, frozen=True):
    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None  # 1.42: rows, columns


class ExecProcessConfig(Wire, frozen=True, omit_defaults=True, kw_only=True):
    """What runs. These keys are lower case on the wire."""

    tty: bool = field(name="tty")
    entrypoint: str = field(name="entrypoint")
    arguments: list[str] = field(name="arguments")
    privileged: bool = field(name="privileged")
    user: str = field(name="user", default="")


class ExecInspectResponse(Wire, frozen=True, kw_only=True):
    id: str = field(name="ID")
    running: bool
    exit_code: int | None
    process_config: ExecProcessConfig
    open_stdin: bool
    open_stderr: bool
    open_stdout: bool
    can_remove: bool
    container_id: str = field(name="ContainerID")
    detach_keys: str
    pid: int
