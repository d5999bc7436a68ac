"""What an operator may write of the things that a node has."""

import msgspec
import pytest

from lighterman.daemon.generic_resources import generic_resources
from lighterman.errdefs import InvalidParameter


def test_a_kind_has_names_or_a_number() -> None:
    assert msgspec.to_builtins(list(generic_resources(["gpu=a", "ssd=4", "gpu = b"]))) == [
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "a"}},
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "b"}},
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 4}},
    ]


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["gpu"], "incorrect term gpu"),
        (["gpu=a=b"], "malformed expression"),
        (["gpu=-1"], "cannot ask for negative resource gpu"),
        (["gpu=a", "gpu=1"], r"mixed discrete and named resources in expression 'gpu=\[a 1\]'"),
        (["gpu=1", "gpu=2"], "mixed discrete and named"),
    ],
)
def test_what_is_neither_is_refused(texts: list[str], complaint: str) -> None:
    with pytest.raises(InvalidParameter, match=complaint):
        generic_resources(texts)
