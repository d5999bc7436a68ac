"""Build arguments: what `ARG` declares and `--build-arg` gives, as values.

Three scopes. Those before the first FROM are *global*: every FROM sees them, a stage only what it declares
again. Those of a *stage* end with it. The *proxies* need no declaration; undeclared they are no part of the
cache's key and of the history, so that an image is the same behind whatever proxy it was built.

Source: Dockerfile reference, ARG; builder/dockerfile/buildargs of dockerd 20.10.24.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from lighterman.lib.dockerfile import Arg, environment

PROXIES = frozenset(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
    for name in (proxy, proxy.lower())
)


class BuildArguments(Struct, frozen=True):
    """The arguments known at one place of a Dockerfile."""

    given: Mapping[str, str | None]
    """Of the build's request; None takes what the Dockerfile says."""
    of_file: Mapping[str, str | None] = field(default_factory=dict)
    """Those before the first FROM, with their defaults."""
    of_stage: Mapping[str, str | None] = field(default_factory=dict)

    def declared_globally(self, arg: Arg) -> "BuildArguments":
        """After an ARG before the first FROM; its variables are those of `known`."""
        names = dict(arg.arguments)
        return replace(self, of_file={**self.of_file, **names}, of_stage={**self.of_stage, **names})

    def at_stage(self) -> "BuildArguments":
        """At the beginning of a stage."""
        return replace(self, of_stage={})

    def declared(self, arg: Arg) -> "BuildArguments":
        """After an ARG of a stage."""
        return replace(self, of_stage={**self.of_stage, **dict(arg.arguments)})

    def for_from(self) -> dict[str, str]:
        """The variables that a FROM knows."""
        return self._values(self.of_file)

    def known(self) -> dict[str, str]:
        """The arguments that instructions know here."""
        return self._values(self.of_stage)

    def variables(self, env: Sequence[str] | None) -> dict[str, str]:
        """The variables that an instruction knows: ENV goes before ARG."""
        return {**self.known(), **environment(env)}

    def beside(self, env: Sequence[str] | None) -> dict[str, str]:
        """What a RUN finds in its environment beside that of the configuration."""
        taken = environment(env)
        return {name: value for name, value in self.known().items() if name not in taken}

    def in_history(self, env: Sequence[str] | None) -> list[str]:
        """What stands before a RUN's command in history and cache: `|2 A=1 B=2`, or nothing at all."""
        beside = self.beside(env)
        if not beside:
            return []
        counted = [
            f"{name}={value}"
            for name, value in beside.items()
            if name in self.of_stage or name not in PROXIES
        ]
        return [f"|{len(counted)}", *sorted(counted)]

    def unused(self, declared: frozenset[str]) -> list[str]:
        """Those given that no ARG of the build has named, sorted."""
        return sorted(self.given.keys() - declared - PROXIES)

    def _values(self, scope: Mapping[str, str | None]) -> dict[str, str]:
        found = {name: self._value(name, scope) for name in (*scope, *sorted(PROXIES))}
        return {name: value for name, value in found.items() if value is not None}

    def _value(self, name: str, scope: Mapping[str, str | None]) -> str | None:
        for source in (self.given, scope, self.of_file):
            value = source.get(name)
            if value is not None:
                return value
        return None
