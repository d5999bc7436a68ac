"""Values of a query, as Docker reads them."""

import pytest

from lighterman.api.queries import boolean, integer
from lighterman.errdefs import InvalidParameter


@pytest.mark.parametrize("text", ["", "0", "no", "false", "none", "False", " NO "])
def test_five_texts_are_false(text: str) -> None:
    assert not boolean(text)


@pytest.mark.parametrize("text", ["1", "true", "yes", "on", "x", "00"])
def test_every_other_text_is_true(text: str) -> None:
    assert boolean(text)


def test_a_value_that_is_not_there_is_the_default() -> None:
    assert (boolean(None), boolean(None, default=True)) == (False, True)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-1", -1), ("+7", 7), ("0010", 10)])
def test_numbers_are_decimal(text: str, number: int) -> None:
    assert integer(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", " 1", "٣"])
def test_what_is_no_number_is_refused_in_gos_words(text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        integer(text)
    assert str(refused.value) == f'strconv.Atoi: parsing "{text}": invalid syntax'


def test_a_number_too_large_for_64_bits_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="value out of range"):
        integer("9223372036854775808")
