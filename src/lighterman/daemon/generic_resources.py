"""What a node has for tasks to reserve, as its operator wrote it: `gpu=UUID-1`, `gpu=UUID-2`, `ssd=4`.

Source: SwarmKit, api/genericresource: a kind has names, or it has a number. Nothing of it is loaded where the
operator wrote nothing.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lighterman.errdefs import InvalidParameter

if TYPE_CHECKING:
    from lighterman.apitypes.service import GenericResource

_MALFORMED = "could not parse GenericResource: "


def generic_resources(texts: Iterable[str]) -> "tuple[GenericResource, ...]":
    """By kind, in the order of the texts. Raises: InvalidParameter in dockerd's words."""
    kinds: dict[str, list[str]] = {}
    for text in texts:
        kind, equals, value = text.partition("=")
        if not equals or "=" in value:
            raise InvalidParameter(f"{_MALFORMED}incorrect term {text}, missing '=' or malformed expression")
        kinds.setdefault(kind.strip(), []).append(value.strip())
    return tuple(resource for kind, values in kinds.items() for resource in _of(kind, values))


def _of(kind: str, values: list[str]) -> "Iterable[GenericResource]":
    from lighterman.apitypes.service import (
        DiscreteGenericResource,
        GenericResource,
        NamedGenericResource,
    )

    numbers = [number for number in map(_number, values) if number is not None]
    if numbers and len(values) > 1:
        raise InvalidParameter(
            f"{_MALFORMED}mixed discrete and named resources in expression '{kind}=[{' '.join(values)}]'"
        )
    if not numbers:
        return [GenericResource(named_resource_spec=NamedGenericResource(kind, value)) for value in values]
    if numbers[0] < 0:
        raise InvalidParameter(f"{_MALFORMED}cannot ask for negative resource {kind}")
    return [GenericResource(discrete_resource_spec=DiscreteGenericResource(kind, numbers[0]))]


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
