"""Settled transfers: what the database says about those that have ended.

It reads the tables that stay readable for others: `transfers`, `outcomes` and `unfinished`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg2

_SETTLED_WITHIN_S = 600.0
_EVERY_S = 0.02


@dataclass(frozen=True)
class Settled:
    """The transfers that were recorded since a time, and have ended.

    seconds: from the first one recorded to the last one ended. Times are the database's.
    """

    committed: int
    other: int
    seconds: float
    p50_ms: float
    p99_ms: float


class Books:
    """Reads the ledger's tables, as the role that owns them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def now(self) -> datetime:
        """Return the database's time."""
        at: datetime = self._row("SELECT clock_timestamp()")[0]
        return at

    def wait_until_settled(self) -> None:
        """Wait until no transfer is unfinished.

        Raises: SystemExit: when that takes too long.
        """
        deadline_s = time.monotonic() + _SETTLED_WITHIN_S
        while self._row("SELECT EXISTS (SELECT FROM unfinished)")[0]:
            if time.monotonic() > deadline_s:
                raise SystemExit(f"transfers have not ended after {_SETTLED_WITHIN_S:g} s")
            time.sleep(_EVERY_S)

    def settled_since(self, begin: datetime) -> Settled:
        """Return how the transfers that were recorded since then have ended."""
        row = self._row(_SETTLED, [begin])
        committed, other, seconds, (p50_s, p99_s) = row
        return Settled(committed, other, float(seconds), p50_s * 1000, p99_s * 1000)

    def _row(self, statement: str, values: list[Any] | None = None) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchone()


_SETTLED = """
SELECT count(*) FILTER (WHERE o.state = 'committed'),
       count(*) FILTER (WHERE o.state <> 'committed'),
       coalesce(extract(epoch FROM max(o.finished_at) - min(t.created_at)), 0),
       coalesce(percentile_cont(ARRAY[0.5, 0.99]::float[]) WITHIN GROUP
                (ORDER BY extract(epoch FROM o.finished_at - t.created_at)::float), ARRAY[0, 0])
FROM transfers t JOIN outcomes o ON o.transfer_id = t.id
WHERE t.created_at >= %s
"""


@contextmanager
def open_books(url: str) -> Iterator[Books]:
    """Connect to the database with this URL."""
    connection = psycopg2.connect(url, application_name="bench")
    connection.autocommit = True
    try:
        yield Books(connection)
    finally:
        connection.close()
