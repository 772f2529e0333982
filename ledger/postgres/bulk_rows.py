"""Bulk rows: passes many Python rows as one table in a statement.

A statement with a thousand rows then has the same text as one with a single row. The values
are sent as one array literal per column: a thousand separate values would cost the server
more to parse than to store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ARRAY, CTE, Text, bindparam, cast, column, func, select
from sqlalchemy.types import TypeEngine

Columns = Mapping[str, TypeEngine[Any]]


def rows_parameter(name: str, columns: Columns) -> CTE:
    """Return a common table expression over rows given at execution, see `rows_argument`.

    It has these columns, and `position`, which counts the rows from 1 in their order.
    """
    arrays = [
        cast(bindparam(_array(key), type_=Text()), ARRAY(kind)) for key, kind in columns.items()
    ]
    alias = func.unnest(*arrays).table_valued(
        *(column(key, kind) for key, kind in columns.items()), with_ordinality="position"
    )
    return select(alias.render_derived()).cte(name)


def rows_argument(columns: Columns, rows: Iterable[tuple[object, ...]]) -> dict[str, str]:
    """Return the argument for a `rows_parameter`. rows: tuples in the order of the columns."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return {_array(key): array_literal(value) for key, value in zip(columns, values, strict=True)}


def array_literal(values: Iterable[object]) -> str:
    """Return an array as PostgreSQL reads it (manual, 8.15.6). None is NULL; bytes are bytea."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            return f'"\\\\x{value.hex()}"'
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case _:  # numbers and UUIDs need no quotes
            return str(value)


def _array(key: str) -> str:
    return f"{key}_array"
