"""Many Python rows as one table in a statement.

A statement with a thousand rows then has the text, and the plan, of one with a single
row; the values travel as one array per column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ARRAY, CTE, bindparam, column, func, select
from sqlalchemy.types import TypeEngine


def rows_parameter(name: str, columns: Mapping[str, TypeEngine[Any]]) -> CTE:
    """A common table expression over rows given at execution, see `rows_argument`.

    It has the given columns and `position`, which counts the rows from 1 in their order.
    """
    arrays = [bindparam(_array(key), type_=ARRAY(kind)) for key, kind in columns.items()]
    alias = func.unnest(*arrays).table_valued(
        *(column(key, kind) for key, kind in columns.items()), with_ordinality="position"
    )
    return select(alias.render_derived()).cte(name)


def rows_argument(
    columns: Mapping[str, TypeEngine[Any]], rows: Iterable[tuple[Any, ...]]
) -> dict[str, list[Any]]:
    """The argument for a `rows_parameter` with these columns: tuples in the columns' order."""
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    return {_array(key): list(value) for key, value in zip(columns, values, strict=True)}


def _array(key: str) -> str:
    return f"{key}_array"
