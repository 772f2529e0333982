"""Amounts: validation, and exact conversion between text and integer."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidField
from ledger.money import MAX_AMOUNT_MINOR, format_amount, parse_amount

scales = st.integers(0, 18)
amounts = st.integers(1, MAX_AMOUNT_MINOR)


@pytest.mark.parametrize(
    ("text", "scale", "minor"),
    [
        ("1", 0, 1),
        ("1", 2, 100),
        ("1.5", 2, 150),
        ("12.50", 2, 1_250),
        ("0.01", 2, 1),
        ("0.000000000000000001", 18, 1),
        ("1000000000000000000000000000000", 0, 10**30),
        ("1000000000000.000000000000000000", 18, 10**30),
        ("0.10", 2, 10),
    ],
)
def test_a_plain_decimal_becomes_minor_units(text: str, scale: int, minor: int) -> None:
    assert parse_amount(text, scale=scale) == minor


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1e3", "1E3", "1e-2", "NaN", "nan", "Infinity", "inf", "-Infinity",
        "+1", "-1", "-0", "--1", "01", "00", "00.5", "1.", ".5", ".", "1..2", "1.2.3",
        " 1", "1 ", "1\n", "\n1", "\t1", "1\u00a0", "1 000", "1,5", "1,000", "1_000", "0x10",
        "0b1", "\u0661", "1\u0662", "1.\u0665", "\uff11", "\u00bd", "\u00b2", "1\u00b2",
        "\u22121", "1\x00", "\x00", "$1", "1$", "1/2", "one", "None", "null", "true", "1f", "1d",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scale", [0, 2, 18])
def test_anything_but_a_plain_decimal_is_refused(text: str, scale: int) -> None:
    with pytest.raises(InvalidField, match="plain decimal string"):
        parse_amount(text, scale=scale)


@pytest.mark.parametrize(
    ("text", "scale", "why"),
    [
        ("1.0", 0, "more than 0 decimals"),
        ("1.005", 2, "more than 2 decimals"),
        ("1.000", 2, "more than 2 decimals"),
        ("0.0000000000000000001", 18, "more than 18 decimals"),
        ("0", 0, "above zero"),
        ("0", 2, "above zero"),
        ("0.00", 2, "above zero"),
        ("0.000000000000000000", 18, "above zero"),
        ("1000000000000000000000000000001", 0, "too large"),
        ("1000000000000.000000000000000001", 18, "too large"),
        ("9" * 64, 0, "too large"),
        ("9" * 65, 0, "plain decimal string"),
        ("0." + "0" * 100, 2, "plain decimal string"),
        ("9" * 1_000_000, 2, "plain decimal string"),
    ],
)
def test_an_amount_out_of_bounds_is_refused_with_its_reason(
    text: str, scale: int, why: str
) -> None:
    with pytest.raises(InvalidField, match=why) as caught:
        parse_amount(text, scale=scale, pointer="/transfers/3/amount")
    assert caught.value.pointer == "/transfers/3/amount"
    assert len(caught.value.detail) < 80


@pytest.mark.parametrize(
    ("minor", "scale", "text"),
    [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (-5, 2, "-0.05"),
        (-500, 2, "-5.00"),
        (5, 0, "5"),
        (-5, 0, "-5"),
        (1, 18, "0.000000000000000001"),
        (10**38 - 1, 18, "99999999999999999999.999999999999999999"),
    ],
)
def test_an_amount_is_printed_with_all_digits_of_its_scale(
    minor: int, scale: int, text: str
) -> None:
    assert format_amount(minor, scale=scale) == text


@given(amounts, scales)
def test_what_is_printed_reads_back_as_the_same_amount(minor: int, scale: int) -> None:
    assert parse_amount(format_amount(minor, scale=scale), scale=scale) == minor


@given(st.integers(-(10**38), 10**38), scales)
def test_what_is_printed_is_the_number_itself(minor: int, scale: int) -> None:
    with localcontext(prec=60):
        assert Decimal(format_amount(minor, scale=scale)) == Decimal(minor).scaleb(-scale)


@given(amounts, scales)
def test_zeros_left_off_the_end_change_nothing(minor: int, scale: int) -> None:
    text = format_amount(minor, scale=scale)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    assert parse_amount(text, scale=scale) == minor


@given(st.text(max_size=70), scales)
def test_any_text_at_all_is_an_amount_in_bounds_or_refused(text: str, scale: int) -> None:
    try:
        minor = parse_amount(text, scale=scale)
    except InvalidField:
        return
    assert 1 <= minor <= MAX_AMOUNT_MINOR
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", text)
