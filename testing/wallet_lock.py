"""Wallet lock: keeps a wallet's row locked, as a forgotten session of the database does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Engine, text

from ledger.wallets import Wallet

RowLock = Literal["NO KEY UPDATE", "UPDATE"]
"""The lock that steps take, and the strongest there is, which also excludes foreign keys."""


@contextmanager
def locked(engine: Engine, *wallets: Wallet, lock: RowLock = "UPDATE") -> Iterator[None]:
    """Hold the lock on the wallets for the block."""
    rows = text(f"SELECT FROM wallets WHERE id = ANY(:ids) FOR {lock}")
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(rows, {"ids": [wallet.id for wallet in wallets]})
        yield
        connection.rollback()
