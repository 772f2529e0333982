"""Assets: the kinds of money, and how many decimals each has."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ledger.postgres import schema


def load_scales(connection: Connection) -> dict[str, int]:
    """Return all assets as {code: number of decimals}. An asset's scale never changes."""
    table = schema.assets
    rows = connection.execute(select(table.c.code, table.c.scale))
    return {row.code: row.scale for row in rows}
