"""Tests of single functions of the pages' modules, run in the browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.conftest import NewPage

Call = Callable[..., Any]


@pytest.fixture
def call(new_page: NewPage) -> Call:
    """Calls a function of a module with arguments and returns its result."""
    tab = new_page()
    tab.page.goto(tab.url)
    found = re.search(r"/assets/[0-9a-f]{20}/", tab.page.content())
    assert found

    def run(module: str, function: str, *arguments: Any) -> Any:
        program = "([m, f, a]) => import(m).then((module) => module[f](...a))"
        return tab.page.evaluate(program, [found[0] + module, function, arguments])

    return run


AMOUNTS = (
    ("12.50", 2, {"amount": "12.50"}),
    (" 1 234\u2009567.5 ", 2, {"amount": "1234567.50"}),
    ("007", 0, {"amount": "7"}),
    (".5", 2, {"amount": "0.50"}),
    ("5.", 2, {"amount": "5.00"}),
    ("1.50000", 8, {"amount": "1.50"}),
    ("0.00000010", 8, {"amount": "0.0000001"}),
    # More digits than a floating-point number holds.
    ("90071992547409930.01", 2, {"amount": "90071992547409930.01"}),
    ("0.000000000000000001", 18, {"amount": "0.000000000000000001"}),
    ("", 2, {"error": "Enter an amount."}),
    (".", 2, {"error": "Enter a plain number, such as 12.50."}),
    ("-1", 2, {"error": "Enter a plain number, such as 12.50."}),
    ("1e3", 2, {"error": "Enter a plain number, such as 12.50."}),
    ("1,5", 2, {"error": "Write decimals with a point, such as 12.50."}),
    ("0.00", 2, {"error": "Enter more than zero."}),
    ("0.001", 2, {"error": "Use at most 2 decimals for this asset."}),
    ("1.5", 0, {"error": "This asset has no decimals."}),
    ("9" * 40, 2, {"error": "This amount is too large."}),
)
GROUPED = (
    ("-1234567.50", "\u22121 234 567.50"),
    ("0.00", "0.00"),
    ("999", "999"),
    ("1000.000000", "1 000.00"),
    ("0.100000000000000001", "0.100000000000000001"),
)
REDACTED = (
    ("Bearer tp_abc-DEF is bad", "[key] is bad"),
    ("key tp_abc", "key [key]"),
    ("paid 1 234.50 to 01a212c3-33f3-78a0-b1ac-d7321399db35", "paid # # to [id]"),
    ("x" * 40, "[long]"),
    ("y " * 2000, "y " * 250),
)


def test_typed_amounts_are_read_exactly(call: Call) -> None:
    for typed, scale, read in AMOUNTS:
        assert call("shared/format/amounts.js", "readAmount", typed, scale) == read, typed


def test_amounts_are_formatted_exactly(call: Call) -> None:
    for amount, written in GROUPED:
        grouped = call("shared/format/amounts.js", "groupAmount", amount)
        assert grouped.replace("\u2009", " ") == written


def test_reports_carry_no_key_and_no_amount(call: Call) -> None:
    for message, redacted in REDACTED:
        assert call("shared/page/error_reports.js", "redactMessage", message) == redacted
    stack = (
        "Error: tp_secret has 12.50\n    at f (https://host/assets/0a1b/shared/api.js:12:34)\n"
        "    at https://host/x.js?key=tp_secret:1:2"
    )
    kept = call("shared/page/error_reports.js", "redactStack", stack)
    assert kept == "    at f (/shared/api.js:12:34)\n    at https://host/x.js:1:2"


def test_the_backoff_grows_is_bounded_and_honours_retry_after(call: Call) -> None:
    def wait(failures: int, retry_after_s: float | None) -> float:
        return float(call("shared/api/polling.js", "backoff_s", failures, retry_after_s))

    assert 0.5 <= wait(1, None) <= 1
    assert 4 <= wait(4, None) <= 8
    assert 30 <= wait(500, None) <= 60
    assert 90 <= wait(1, 90) <= 99
