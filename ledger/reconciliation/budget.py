"""Budget of a worker's turn: how long it may go on with a run of the consistency scan.

With nothing else running it takes all its time. When others write to the database it stops early,
and leaves them the rest.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Engine, text

from ledger.postgres.database import transaction

BUSY_WRITES_PER_S: Final = 10.0
"""More transactions of others write than this: a batch of transfers is five of them. The scheduled
tasks alone write less."""

# The number of transactions that have written so far; a reader is none of them.
_COUNT_WRITES = "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)"
_WRITES = text(_COUNT_WRITES)
# A piece reads a short range of indexes. The planner, which knows too little about ranges of pairs,
# would sort or hash whole tables: a piece then takes longer in a larger database.
_BEGIN = text(
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off;"
    + _COUNT_WRITES
)


@dataclass
class Budget:
    """The time of one turn, and how much others have written while it read."""

    works_for_s: float
    yields_after_s: float
    """Stop after this time when the database is busy."""
    _began_s: float = field(default_factory=time.monotonic)
    _read_s: float = 0.0
    _writes: int = 0

    @contextmanager
    def reading(self, engine: Engine) -> Iterator[Connection]:
        """Connect for statements that only read; each sees its own snapshot."""
        with transaction(engine) as connection:
            before = connection.execute(_BEGIN).scalar_one()
            began_s = time.monotonic()
            yield connection
            self._read_s += time.monotonic() - began_s
            self._writes += connection.execute(_WRITES).scalar_one() - before

    def is_spent(self) -> bool:
        """Return whether the turn should end."""
        spent_s = time.monotonic() - self._began_s
        is_busy = self._writes > BUSY_WRITES_PER_S * self._read_s
        return spent_s >= (self.yields_after_s if is_busy else self.works_for_s)
