"""Assets: the kinds of money, and how many decimals each has. One is never changed or deleted."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects.postgresql import insert

from ledger.errors import InvalidState
from ledger.ids import new_id
from ledger.postgres import schema


@dataclass(frozen=True, slots=True)
class Asset:
    """A kind of money. scale: its number of decimals, 0 to 18."""

    code: str
    scale: int


def create_asset(connection: Connection, asset: Asset) -> bool:
    """Create an asset with its transit wallet, or find it. Returns: whether it is new.

    Of two transactions with the same code the second waits until the first has ended.
    Raises: InvalidState: when there is an asset with this code and another scale.
    """
    table, wallets = schema.assets, schema.wallets
    insertion = insert(table).values(code=asset.code, scale=asset.scale).on_conflict_do_nothing()
    is_new = connection.scalar(insertion.returning(table.c.code)) is not None
    scale = connection.scalar(select(table.c.scale).where(table.c.code == asset.code))
    if scale != asset.scale:
        raise InvalidState(f"The asset {asset.code} has the scale {scale}, which cannot change.")
    transit = {"id": new_id(), "asset": asset.code, "kind": "transit"}
    connection.execute(
        insert(wallets)
        .values(transit | {"name": f"{asset.code} in transit"})
        # It is there already, unless somebody wrote the asset by hand and forgot it.
        .on_conflict_do_nothing(
            index_elements=[wallets.c.asset], index_where=text("kind = 'transit'")
        )
    )
    return is_new


def list_assets(connection: Connection, *, limit: int, after: str | None) -> list[Asset]:
    """Return assets in the order of their codes. after: the code before the first one."""
    table = schema.assets
    query = select(table).order_by(table.c.code).limit(limit)
    if after is not None:
        query = query.where(table.c.code > after)
    return [Asset(row.code, row.scale) for row in connection.execute(query)]


def load_scales(connection: Connection) -> dict[str, int]:
    """Return all assets as {code: number of decimals}. An asset's scale never changes."""
    table = schema.assets
    rows = connection.execute(select(table.c.code, table.c.scale))
    return {row.code: row.scale for row in rows}
