"""Bulk rows: array literals. An integration test shows that PostgreSQL reads them back."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Integer, Text

from ledger.postgres.bulk_rows import Columns, array_literal, rows_argument

COLUMNS: Columns = {"number": Integer(), "word": Text()}


@pytest.mark.parametrize(
    ("values", "literal"),
    [
        ([], "{}"),
        ([None], "{NULL}"),
        (["NULL"], '{"NULL"}'),
        ([""], '{""}'),
        ([1, -2, 10**37], "{1,-2," + "1" + "0" * 37 + "}"),
        ([Decimal("1.50")], "{1.50}"),
        ([UUID(int=1)], "{00000000-0000-0000-0000-000000000001}"),
        ([b"", b"\x00\xff"], r'{"\\x","\\x00ff"}'),
        (['"'], r'{"\""}'),
        (["\\"], r'{"\\"}'),
        (['\\"'], r'{"\\\""}'),
        (["{", "}", ",", " "], '{"{","}",","," "}'),
        (["a\nb"], '{"a\nb"}'),
        (["it's"], '{"it\'s"}'),
    ],
)
def test_values_are_written_as_postgresql_reads_them(values: list[object], literal: str) -> None:
    assert array_literal(values) == literal


def test_rows_become_one_argument_per_column() -> None:
    assert rows_argument(COLUMNS, [(1, "a"), (2, None)]) == {
        "number_array": "{1,2}",
        "word_array": '{"a",NULL}',
    }


def test_no_rows_are_empty_arrays() -> None:
    assert rows_argument(COLUMNS, []) == {"number_array": "{}", "word_array": "{}"}


def test_a_row_of_the_wrong_width_raises() -> None:
    with pytest.raises(ValueError, match="zip"):
        rows_argument({"number": Integer()}, [(1, "too wide")])
