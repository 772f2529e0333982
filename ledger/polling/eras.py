"""Recording eras: keep the order of recording when the database's transaction ids start again.

`transfers.recorded_order` is the era and the id of the transaction that wrote the row, in one
number. Within one timeline of a PostgreSQL cluster transaction ids only grow. A standby that is
promoted goes on with ids that were used before, if the primary has lost commits; so each timeline
is an era of its own, which the column's default reads from the server. A dump that is restored
into another cluster begins an era by command. The numbers of an era are larger than all before.
So a place in the order keeps its meaning, also after a failover or a restore.

Guarantees that all rows of an era are committed before the first of the next is written.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, text

from ledger.errors import Misconfigured, Unaccepted
from ledger.postgres import schema
from ledger.postgres.session import TIMELINE

ERA_BITS: Final = 52
"""A transaction id has fewer: at 100,000 a second they last for 1,400 years."""
LAST_ERA: Final = (1 << 63 - ERA_BITS) - 1
_ROOM_FOR_FAILOVERS: Final = 16
"""Eras to leave out where an operator accepts a server: another one may have been promoted since
its data was copied, so pollers may have seen later eras than it knows of."""
_LAST_BEGUN_BY_COMMAND: Final = LAST_ERA - 256
"""The rest is kept for failovers, each of which begins an era by itself."""
FEW_ACCEPTANCES: Final = 16
"""So many are left when an operator should know it."""

_HISTORY: Final = text(
    "SELECT system_identifier::text AS system,"
    " substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline FROM pg_control_system()"
)


def begin_era_if_accepted(connection: Connection, *, is_accepted: bool) -> bool:
    """Begin an era where an operator accepts the server; else check that it needs no accepting.

    Call it under the lock of the migrations. Returns: whether one began.
    Raises: Unaccepted: when the server is not that of the last era, and nobody accepts it.
    Unavailable: when transfers are being written for so long that the era cannot begin.
    Misconfigured: when there are no eras left.
    """
    now: Any = connection.execute(_HISTORY).one()
    table = schema.recording_eras
    last = connection.execute(select(table).order_by(table.c.era.desc()).limit(1)).one()
    if is_accepted:
        _begin(connection, last, now)
    elif last.system != now.system or last.timeline > now.timeline:
        raise Unaccepted
    return is_accepted


def acceptances_left(connection: Connection) -> int:
    """Return how often an operator may still accept a server for this database."""
    era: int = connection.execute(_ERA_NOW).scalar_one()
    return max((_LAST_BEGUN_BY_COMMAND - era) // _ROOM_FOR_FAILOVERS, 0)


# Each timeline since the newest recorded era has one more.
_ERA_NOW: Final = text(
    f"""
    SELECT era + {TIMELINE} - ('x' || timeline)::bit(32)::bigint
    FROM recording_eras ORDER BY era DESC LIMIT 1
    """  # noqa: S608 - of a constant
)


def _begin(connection: Connection, last: Any, now: Any) -> None:
    # The lock waits for every transaction that has written a transfer, and holds up the next,
    # also behind a dump that takes hours: so not for long.
    connection.execute(text("SET LOCAL lock_timeout = '5s'"))
    connection.execute(text("LOCK TABLE transfers IN ACCESS EXCLUSIVE MODE"))
    newest = connection.scalar(text("SELECT max(recorded_order) FROM transfers")) or 0
    era = max(last.era, newest >> ERA_BITS) + _ROOM_FOR_FAILOVERS
    if era > _LAST_BEGUN_BY_COMMAND:
        raise Misconfigured(
            "This database was accepted on another server too often: its order of recording has no "
            "number left for one more. Nothing was changed. Go on with the server it is on."
        )
    connection.execute(
        text(
            "ALTER TABLE transfers ALTER COLUMN recorded_order"
            f" SET DEFAULT {recorded_order(era=era, timeline=int(now.timeline, 16))}"
        )
    )
    connection.execute(
        insert(schema.recording_eras).values(
            era=era,
            system=now.system,
            timeline=now.timeline,
            # Later than the last that this database knows, whatever the clock says.
            began_at=func.greatest(func.now(), last.began_at + timedelta(microseconds=1)),
        )
    )


def recorded_order(*, era: int, timeline: int) -> str:
    """Return the column's default, by the era that a timeline has."""
    return f"(({TIMELINE} + ({era - timeline})) << {ERA_BITS}) + pg_current_xact_id()::text::bigint"
