"""Running steps: lets a reader wait for the postings that have their time but are not committed.

A step reads the time of its postings under the lock of its batch (`ledger.batches.lock_batch`),
and the lock is gone once its commit can be seen. PostgreSQL shows to everybody who holds such a
lock. So a reader takes none, and no step waits for a reader.
"""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Uuid, bindparam, text

from ledger.errors import Unavailable
from ledger.postgres.bulk_rows import array_literal

WAIT_S: Final = 2.0
"""The most that a reader waits; a step takes much less, unless the database is in trouble."""
_POLL_S: Final = 0.01
_KEY_BITS: Final = 63
_OTHER_BITS: Final = 128 - _KEY_BITS


def lock_key(batch_id: UUID) -> int:
    """Return the key of the batch's advisory lock: the first 63 bits of its id."""
    return batch_id.int >> _OTHER_BITS


def wait_for_postings(connection: Connection, wallet_id: UUID) -> None:
    """Wait until each posting of the wallet that has its time by now can be seen.

    The statement that reads them must come after this one, with a snapshot of its own.
    Raises: Unavailable: when a step of this wallet takes longer than WAIT_S.
    """
    running = _running(connection, wallet_id)
    deadline_s = time.monotonic() + WAIT_S
    while running:
        if time.monotonic() >= deadline_s:
            raise Unavailable("A transfer of this wallet takes unusually long. Try again.")
        time.sleep(_POLL_S)
        running &= _held(connection)


def _running(connection: Connection, wallet_id: UUID) -> set[tuple[int, str]]:
    """Return the steps that run now and touch the wallet: (key of the lock, its holder)."""
    held = _held(connection)
    if not held:
        return held
    first = [UUID(int=key << _OTHER_BITS) for key, _ in held]
    last = [UUID(int=(key + 1 << _OTHER_BITS) - 1) for key, _ in held]
    argument = {"wallet": wallet_id, "first": array_literal(first), "last": array_literal(last)}
    keys = {lock_key(batch_id) for batch_id in connection.scalars(_BATCHES, argument)}
    return {step for step in held if step[0] in keys}


def _held(connection: Connection) -> set[tuple[int, str]]:
    return {(row.key, row.holder) for row in connection.execute(_HELD)}


_HELD = text("""
    SELECT CAST(classid AS bigint) << 32 | CAST(objid AS bigint) AS key,
           virtualtransaction AS holder
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")
# The ids of a batch whose lock has this key lie between two ids, which the index finds.
_BATCHES = (
    text("""
    SELECT DISTINCT batch_id
    FROM unnest(CAST(:first AS uuid[]), CAST(:last AS uuid[])) AS held (first, last)
    JOIN unfinished ON batch_id BETWEEN held.first AND held.last
    WHERE :wallet IN (source_id, transit_id, destination_id)
""")
    .bindparams(bindparam("wallet", type_=Uuid()))
    .columns(batch_id=Uuid())
)
