"""Generic resources: things that a node has some of, or that have names, as in `gpu=uuid-1`.

Source: SwarmKit, api/genericresource: a reservation is a number of a kind, and named ones are given by name.
"""

from collections.abc import Iterable, Sequence

from lighterman.apitypes.service import DiscreteGenericResource, GenericResource


def _amount(resource: GenericResource) -> tuple[str, int]:
    """Kind and number of what is wished or had."""
    if resource.discrete_resource_spec is not None:
        return resource.discrete_resource_spec.kind, resource.discrete_resource_spec.value
    assert resource.named_resource_spec is not None, "one of the two is always there"
    return resource.named_resource_spec.kind, 1


def enough(have: Iterable[GenericResource], wished: Iterable[GenericResource]) -> bool:
    """Whether the wish can be met."""
    left: dict[str, int] = {}
    for resource in have:
        kind, amount = _amount(resource)
        left[kind] = left.get(kind, 0) + amount
    return all(left.get(kind, 0) >= amount for kind, amount in map(_amount, wished))


def claim(have: Sequence[GenericResource], wished: Iterable[GenericResource]) -> list[GenericResource]:
    """What is given for a wish that can be met: names where the kind has names, a number otherwise."""
    given: list[GenericResource] = []
    for kind, amount in map(_amount, wished):
        named = [each for each in have if each.named_resource_spec and each.named_resource_spec.kind == kind]
        given += named[:amount] or [
            GenericResource(discrete_resource_spec=DiscreteGenericResource(kind=kind, value=amount))
        ]
    return given


def without(have: Iterable[GenericResource], given: Iterable[GenericResource]) -> list[GenericResource]:
    """What is left."""
    left = list(have)
    for resource in given:
        if resource.named_resource_spec is not None:
            left = [each for each in left if each != resource]
            continue
        kind, amount = _amount(resource)
        left = [
            GenericResource(
                discrete_resource_spec=DiscreteGenericResource(kind=kind, value=_amount(each)[1] - amount)
            )
            if each.discrete_resource_spec is not None and _amount(each)[0] == kind
            else each
            for each in left
        ]
    return left
