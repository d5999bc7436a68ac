"""What a process in a container runs with: arguments, environment, capabilities, limits. Pure.

A container's first process and every exec are built here, so that an exec is confined as its container is.
"""

from collections.abc import Iterable, Sequence

from lighterman.apitypes.container import Ulimit
from lighterman.containers.identity import Identity
from lighterman.containers.limits import ULIMITS
from lighterman.containers.security import apparmor_profile, parse_security_opt
from lighterman.containers.state import Container
from lighterman.linux.capabilities import NAMES
from lighterman.linux.host import Host
from lighterman.oci import spec as oci
from lighterman.oci.capabilities import effective, process_capabilities
from lighterman.oci.defaults import DEFAULT_PATH

INIT = "/sbin/docker-init"


def command(container: Container) -> tuple[str, ...]:
    """Entrypoint and command in one."""
    return (*(container.config.entrypoint or ()), *(container.config.cmd or ()))


def environment(
    container: Container,
    hostname: str,
    home: str,
    *,
    tty: bool,
    of_links: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> tuple[str, ...]:
    """Docker's defaults and what links say, the container's variables over them, `extra` last.

    A name without "=" takes a variable away. Source: CreateDaemonEnvironment of moby 20.10; HOME is what
    runc would set, where there is none or an empty one.
    """
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if tty:
        variables["TERM"] = "xterm"
    for variable in (*of_links, *(container.config.env or ()), *extra):
        name, has_value, value = variable.partition("=")
        if has_value:
            variables[name] = value
        else:
            variables.pop(name, None)
    variables["HOME"] = variables.get("HOME") or home
    return tuple(f"{name}={value}" for name, value in variables.items())


def capabilities(container: Container, host: Host) -> tuple[str, ...]:
    """The bounding set of the container's processes."""
    wish = container.host_config
    return effective(wish.cap_add, wish.cap_drop, wish.privileged, host.bounding_caps)


def first_process(
    container: Container,
    host: Host,
    hostname: str,
    user: Identity,
    of_links: Sequence[str] = (),
    *,
    under_init: bool = False,
) -> oci.Process:
    """The process that the container is; `of_links` are variables of its environment."""
    config, wish = container.config, container.host_config
    security = parse_security_opt(wish.security_opt or (), host.features)
    args = command(container)
    rows, columns = wish.console_size
    return oci.Process(
        terminal=config.tty,
        console_size=oci.ConsoleSize(height=rows, width=columns) if config.tty and rows and columns else None,
        user=_user(user),
        args=(INIT, "--", *args) if under_init else args,
        env=environment(container, hostname, user.home, tty=config.tty, of_links=of_links),
        cwd=config.working_dir or "/",
        capabilities=process_capabilities(capabilities(container, host), user.uid),
        rlimits=tuple(_rlimits(wish.ulimits or ())),
        no_new_privileges=security.no_new_privileges,
        apparmor_profile=apparmor_profile(security, host.features, privileged=wish.privileged),
        oom_score_adj=wish.oom_score_adj,
    )


def further_process(
    container: Container,
    host: Host,
    user: Identity,
    *,
    args: Sequence[str],
    env: Sequence[str],
    of_links: Sequence[str] = (),
    tty: bool,
    privileged: bool,
    working_dir: str,
) -> oci.Process:
    """A process of an exec: as the first one, unless something else was asked for."""
    wish = container.host_config
    security = parse_security_opt(wish.security_opt or (), host.features)
    bounding = (
        tuple(name for name in NAMES if name in host.bounding_caps)
        if privileged
        else capabilities(container, host)
    )
    return oci.Process(
        terminal=tty,
        user=_user(user),
        args=tuple(args),
        env=environment(
            container, container.config.hostname, user.home, tty=tty, of_links=of_links, extra=env
        ),
        cwd=working_dir or container.config.working_dir or "/",
        capabilities=process_capabilities(bounding, user.uid),
        rlimits=tuple(_rlimits(wish.ulimits or ())),
        no_new_privileges=security.no_new_privileges,
        apparmor_profile=apparmor_profile(security, host.features, privileged=privileged or wish.privileged),
        oom_score_adj=wish.oom_score_adj,
    )


def _user(identity: Identity) -> oci.User:
    return oci.User(uid=identity.uid, gid=identity.gid, additional_gids=identity.groups)


def _rlimits(ulimits: Iterable[Ulimit]) -> Iterable[oci.Rlimit]:
    for ulimit in ulimits:
        soft, hard = (limit % 2**64 for limit in (ulimit.soft, ulimit.hard))  # -1 is no limit
        yield oci.Rlimit(type=ULIMITS[ulimit.name], soft=soft, hard=hard)
