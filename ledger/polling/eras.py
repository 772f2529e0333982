"""Recording eras: keep the order of recording when the database's transaction ids start again.

`transfers.recorded_order` is the era and the id of the transaction that wrote the row, in one
number. Within one PostgreSQL cluster transaction ids only grow. A dump that is restored, or a
backup of an earlier time, goes on with ids that were used before: then a new era begins, whose
numbers are all larger. So a place in the order keeps its meaning, also after a restore.

Guarantees that all rows of an era are committed before the first of the next is written.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, insert, select, text

from ledger.errors import Unavailable
from ledger.postgres import schema
from ledger.postgres.database import savepoint

ERA_BITS: Final = 52
"""A transaction id has fewer: at 100,000 a second they last for 1,400 years."""

_HISTORY: Final = text(
    "SELECT system_identifier::text AS system,"
    " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline FROM pg_control_system()"
)


def begin_era_if_needed(connection: Connection) -> bool:
    """Begin an era if this is not the cluster, or not the timeline, in which the last one began.

    A failover begins one too, which does no harm. Call it under the lock of the migrations.
    Returns: whether one began. A second call changes nothing.
    Raises: Unavailable: when transfers are being written for so long that it cannot begin, and
    the cluster is another one. On another timeline alone it is left to the next call.
    """
    now: Any = connection.execute(_HISTORY).one()
    table = schema.recording_eras
    last = connection.execute(select(table).order_by(table.c.era.desc()).limit(1)).one()
    if (last.system, last.timeline) == (now.system, now.timeline):
        return False
    try:
        with savepoint(connection):
            _begin(connection, last.era + 1, now)
    except Unavailable:
        if last.system != now.system:
            raise
        return False
    return True


def _begin(connection: Connection, era: int, now: Any) -> None:
    # The lock waits for every transaction that has written a transfer, and holds up the next,
    # also behind a dump that takes hours: so not for long.
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    connection.execute(
        text(
            "ALTER TABLE transfers ALTER COLUMN recorded_order SET DEFAULT"
            f" ({era:d}::bigint << {ERA_BITS}) + pg_current_xact_id()::text::bigint"
        )
    )
    connection.execute(
        insert(schema.recording_eras).values(era=era, system=now.system, timeline=now.timeline)
    )
