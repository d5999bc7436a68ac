"""The command line: `lighterman daemon`, `lighterman check`, `lighterman swarm`, `lighterman version`.

Nothing is decided here. The flags of `daemon` come from the fields of `EngineConfig`; the rooms are imported
when the engine starts, so that a mistype is answered at once.
"""

import gc
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin

import click

from lighterman import __version__
from lighterman.daemon.config import (
    DEFAULT_CONFIG_FILE,
    FIXED,
    REFUSED,
    AddressPool,
    EngineConfig,
    OciRuntime,
    Option,
    UlimitRange,
    options,
    refuse,
)
from lighterman.errdefs import EngineError, InvalidParameter

_LISTS = """allow-nondistributable-artifacts cdi-spec-dirs cluster-store-opts
    exec-opts storage-opts
    """.split()  # noqa: SIM905 a list of words reads best as words
"""Refused options whose flag is the singular of the key."""
_OTHERWISE = {"containerd-plugin-namespace": "containerd-plugins-namespace"}
"""Refused options whose flag dockerd calls otherwise than the key."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Lighterman, a Docker Engine: the unchanged docker command line is its client."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"Lighterman {__version__}")


@main.command()
@click.option(
    "--data-root", default=EngineConfig().data_root, show_default=True, help="Where layers would lie."
)
@click.option("--store", is_flag=True, help="Verify all images, layers and blobs below it, to the byte.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def check(data_root: str, store: bool, as_json: bool) -> None:
    """Tell what this host offers, and what to install; or whether what is stored is whole."""
    if store:
        from lighterman.daemon.check import store as store_check

        sys.exit(store_check.main(Path(data_root), as_json))
    from lighterman.daemon import check as host_check

    sys.exit(host_check.main(Path(data_root), as_json))


@main.group()
def swarm() -> None:
    """Keep a swarm in a file, and bring it back."""


_swarm_roots = click.option(
    "--data-root", default=EngineConfig().data_root, show_default=True, help="That of the engine."
)


@swarm.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_swarm_roots
@click.option("--exec-root", default=EngineConfig().exec_root, show_default=True, help="That of the engine.")
def backup(file: Path, data_root: str, exec_root: str) -> None:
    """Write the swarm of the manager that runs here to FILE: its state, and the keys that open it."""
    from lighterman.daemon import swarm_files

    sys.exit(swarm_files.backup(file, Path(data_root), Path(exec_root)))


@swarm.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_swarm_roots
def restore(file: Path, data_root: str) -> None:
    """Lay the swarm of FILE down for an engine that is stopped and in no swarm; it goes on with it alone."""
    from lighterman.daemon import swarm_files

    sys.exit(swarm_files.restore(file, Path(data_root)))


@main.command()
@click.option(
    "--from",
    "source",
    default="/var/lib/docker",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The data root of dockerd.",
)
@click.option("--data-root", default=EngineConfig().data_root, show_default=True, help="Where to take it.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be taken.")
def import_docker(source: Path, data_root: str, dry_run: bool) -> None:
    """Take over dockerd's images and volumes, while neither engine runs; dockerd keeps its own."""
    from lighterman.daemon import import_docker as importing

    try:
        sys.exit(importing.main(source, Path(data_root).absolute(), dry_run=dry_run))
    except EngineError as error:
        raise click.ClickException(str(error)) from error


class _Daemon(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As Go's flags: `-H=VALUE` is `-H VALUE`."""
        return super().parse_args(ctx, [re.sub(r"^(-[A-Za-z])=", r"\1", each) for each in args])


@main.command(cls=_Daemon)
@click.option(
    "--config-file", type=click.Path(dir_okay=False, path_type=Path), help=f"Default: {DEFAULT_CONFIG_FILE}"
)
@click.option("--validate", is_flag=True, help="Check the configuration, then exit.")
def daemon(config_file: Path | None, validate: bool, **flags: Any) -> None:
    """Run the engine in the foreground; SIGTERM stops it, and containers go on."""
    gc.disable()  # what is loaded now stays: looking at it over and over is a tenth of the start
    with _no_authorities():
        from lighterman.daemon.configure import configure

    started_in = Path.cwd()  # the engine leaves it; what SIGHUP reads anew is still meant from there
    file = started_in / config_file if config_file else None

    def read() -> EngineConfig:
        return configure(
            _given(flags), _read(file), str(config_file or DEFAULT_CONFIG_FILE), started_in=started_in
        )

    try:
        config = read()
        if validate:
            click.echo("configuration OK")
            return
        from lighterman.daemon.run import run

        run(config, read)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    finally:
        gc.enable()


@contextmanager
def _no_authorities() -> Iterator[None]:
    """Let OpenSSL find no authorities meanwhile.

    aiohttp loads those of the host twice as it is imported, into contexts that nobody here uses: 45 ms of
    every start, and 1.6 MB. Who speaks TLS has a context of its own (`lib.tls`).
    """
    known = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
        if known is not None:
            os.environ["SSL_CERT_FILE"] = known


def _read(config_file: Path | None) -> bytes | None:
    """The file's bytes; None if it is the default one and not there. Raises: InvalidParameter."""
    try:
        return (config_file or DEFAULT_CONFIG_FILE).read_bytes()
    except FileNotFoundError as error:
        if config_file is None:
            return None
        raise InvalidParameter(
            f"unable to configure the Docker daemon with file {config_file}: {error.strerror}"
        ) from error
    except OSError as error:
        raise InvalidParameter(f"unable to read {config_file}: {error.strerror}") from error


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were typed, by the keys of daemon.json and in its shapes."""
    return {
        option.key: _shaped(option, flags[_variable(option)])
        for option in options()
        if flags.get(_variable(option)) not in (None, ())
    }


def _variable(option: Option) -> str:
    return option.key.replace("-", "_")


def _shaped(option: Option, value: Any) -> Any:
    if get_origin(option.kind) is dict:
        of = get_args(option.kind)[1]
        if get_origin(of) is dict:
            return _nested(option, value)
        pairs = dict(_pair(option, each) for each in value)
        if of is OciRuntime:
            return {name: {"path": path} for name, path in pairs.items()}
        if of is UlimitRange:
            return {name: _ulimit(option, name, limits) for name, limits in pairs.items()}
        return {name: _switch(option, text) for name, text in pairs.items()} if of is bool else pairs
    if get_args(option.kind)[:1] == (AddressPool,):
        return [_pool(option, each) for each in value]
    return list(value) if option.repeatable else value


def _pair(option: Option, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"invalid value {text!r} for --{option.flag.name}: expected name=value")
    return key, value


def _nested(option: Option, texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Of "name=key=value", several of a name."""
    nested: dict[str, dict[str, str]] = {}
    for name, text in (_pair(option, each) for each in texts):
        key, value = _pair(option, text)
        nested.setdefault(name, {})[key] = value
    return nested


def _ulimit(option: Option, name: str, text: str) -> dict[str, Any]:
    """Of "soft" or "soft:hard". Source: ParseUlimit of docker/go-units."""
    soft, colon, hard = text.partition(":")
    try:
        return {"Name": name, "Soft": int(soft), "Hard": int(hard if colon else soft)}
    except ValueError as error:
        raise click.UsageError(
            f"invalid value {text!r} for --{option.flag.name}: expected soft[:hard]"
        ) from error


def _switch(option: Option, text: str) -> bool:
    if text not in ("true", "false"):
        raise click.UsageError(f"invalid value {text!r} for --{option.flag.name}: expected true or false")
    return text == "true"


def _pool(option: Option, text: str) -> dict[str, Any]:
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if parts.keys() != {"base", "size"} or not parts["size"].isdecimal():
        raise click.UsageError(f"invalid value {text!r} for --{option.flag.name}: expected base=CIDR,size=N")
    return {"base": parts["base"], "size": int(parts["size"])}


def _click_option(option: Option) -> click.Option:
    names = [f"--{option.flag.name}", _variable(option)]
    if option.flag.short:
        names.append(f"-{option.flag.short}")
    if option.kind in (bool, bool | None):
        # as dockerd's: --icc=false, and a bare --icc is --icc=true
        return click.Option(names, type=bool, is_flag=False, flag_value="true", help=option.flag.help)
    kind = int if option.kind is int else str
    return click.Option(names, type=kind, multiple=option.repeatable, help=option.flag.help)


def _refusing_option(key: str) -> click.Option:
    """A hidden flag of dockerd's that answers why it is refused, instead of "no such option"."""
    known = FIXED.get(key, ())
    boolean, listed = (
        any(isinstance(each, bool) for each in known),
        any(isinstance(each, list) for each in known),
    )

    def look(context: click.Context, parameter: click.Parameter, values: tuple[Any, ...]) -> None:
        for value in [list(values)] if listed and values else values:
            try:
                refuse(key, value)
            except EngineError as error:
                raise click.UsageError(str(error), context) from error

    name = key.removesuffix("s") if key in _LISTS else _OTHERWISE.get(key, key)
    return click.Option(
        [f"--{name}", "refused_" + key.replace("-", "_")],
        type=bool if boolean else str,
        is_flag=False,
        flag_value="true",
        multiple=True,
        hidden=True,
        expose_value=False,
        callback=look,
    )


daemon.params += [_click_option(option) for option in options() if option.flag.name]
daemon.params += [_refusing_option(key) for key in sorted(REFUSED.keys() | FIXED.keys())]

if __name__ == "__main__":
    main()
