"""The filters parameter."""

import pytest

from lighterman.errdefs import InvalidParameter
from lighterman.lib.filters import Filters, parse_filters


def test_both_forms_of_the_wire_are_read_alike() -> None:
    assert parse_filters('{"status": ["created"]}') == parse_filters(
        '{"status": {"created": true, "x": false}}'
    )


@pytest.mark.parametrize("text", ["[", "[]", '{"a": "b"}', '{"a": [1]}'])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_filters(text)


def test_a_name_nobody_knows_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidParameter, match=r"^Invalid filter 'bogus'$"):
        parse_filters('{"bogus": ["x"]}').check(["status"])


def test_labels_match_by_key_or_by_key_and_value() -> None:
    have = {"a": "b", "c": ""}
    assert parse_filters('{"label": ["a", "c", "a=b"]}').labels(have)
    assert not parse_filters('{"label": ["a=x"]}').labels(have)
    assert not parse_filters('{"label": ["z"]}').labels(None)


def test_a_flag_that_is_no_boolean_is_refused() -> None:
    assert parse_filters('{"dangling": ["true"]}').flag("dangling", default=False)
    with pytest.raises(InvalidParameter, match=r"Invalid filter 'dangling=\[maybe\]'"):
        parse_filters('{"dangling": ["maybe"]}').flag("dangling", default=False)


@pytest.mark.parametrize(  # as recorded from dockerd 20.10.24
    ("text", "message"),
    [
        ("[]", "json: cannot unmarshal array into Go value of type map[string]map[string]bool"),
        ('{"label":"x=y"}', "json: cannot unmarshal string into Go value of type map[string]bool"),
    ],
)
def test_what_is_no_map_of_lists_is_refused_in_gos_words(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_filters(text)
    assert str(refused.value) == message


def test_null_asks_for_nothing() -> None:
    assert not parse_filters("null")


@pytest.mark.parametrize(
    ("wanted", "until_ns", "pruned"),
    [
        ({}, None, True),
        ({"label": ("x",)}, None, True),
        ({"label": ("y",)}, None, False),
        ({"label!": ("x",)}, None, False),
        ({"label!": ("y",)}, None, True),
        ({}, 1, False),
    ],
)
def test_prune_goes_by_labels_and_age(
    wanted: dict[str, tuple[str, ...]], until_ns: int | None, pruned: bool
) -> None:
    assert Filters(wanted).prunes({"x": "1"}, created_ns=1, until_ns=until_ns) is pruned
