"""What may be kept of builds, as `builder.gc` of daemon.json has it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from lighterman.build import FILTERS, Rule, default_rules
from lighterman.containers.log_values import size_bytes
from lighterman.daemon.config import BuilderRule, EngineConfig
from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters

_OF_THE_DISK = 10
"""One part of so many may be filled, where nothing is said. Source: detectDefaultGCCap of moby."""


def build_rules(config: EngineConfig) -> Sequence[Rule]:
    """The rules by which what builds leave is thrown away; none when that is not wished.

    Raises: InvalidParameter for a size or a filter that is none.
    """
    gc = config.builder.gc
    if not gc.enabled:
        return ()
    keep_bytes = _bytes(gc.default_reserved_space or gc.default_keep_storage)
    if gc.policy is None:
        return default_rules(keep_bytes or _disk_bytes(config) // _OF_THE_DISK)
    return [_rule(wish, keep_bytes) for wish in gc.policy]


def _rule(wish: BuilderRule, default_bytes: int) -> Rule:
    filters = _filters(wish)
    filters.check(FILTERS)
    filters.flag("inuse", default=True)
    filters.flag("shared", default=True)
    Filters({"until": filters.get("until") or filters.get("unused-for")}).until_ns(0)
    return Rule(filters, _bytes(wish.reserved_space or wish.keep_storage) or default_bytes, wish.all)


def _filters(wish: BuilderRule) -> Filters:
    """Of "name=value" or, in the form that dockerd had once, of an object."""
    if isinstance(wish.filter, dict):
        return Filters({name: tuple(values) for name, values in wish.filter.items()})
    wanted: dict[str, tuple[str, ...]] = {}
    for name, _, value in (text.partition("=") for text in wish.filter):
        key = name.strip().lower()
        wanted[key] = (*wanted.get(key, ()), value.strip())
    return Filters(wanted)


def _bytes(text: str) -> int:
    try:
        return size_bytes(text, base=1024) if text else 0
    except InvalidParameter as error:
        raise InvalidParameter(f"builder.gc: {error}") from error


def _disk_bytes(config: EngineConfig) -> int:
    """Of the file system that the data root is, or will be, on."""
    root = Path(config.data_root)
    there = next(path for path in (root, *root.parents) if path.exists())
    return shutil.disk_usage(there).total
