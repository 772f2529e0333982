"""How many transfers stand where: asked often, so it must cost little however many there are.

Guarantees exact numbers without counting what was counted before. Transfers under way are
counted each time; they are few. Those that have ended only ever become more: they are counted
up to a time before which nothing can be added any more, and from there on by an index on time.
(A server that takes over with a clock far behind may add something before that time after all;
it is then missing from the counts, and from nothing else.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import Connection, Row, text

from ledger.states import FINISHED, UNFINISHED, State, UnfinishedState

SETTLE_AFTER: Final = timedelta(minutes=1)
"""What ended longer ago is added to the counts that are kept."""
WINDOW: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class OldestUnfinished:
    """The transfer that has been under way longest, by the order of acceptance."""

    id: UUID
    state: UnfinishedState
    age_s: float


@dataclass(frozen=True, slots=True)
class TransferCounts:
    """How the transfers stand. A request that was refused on replay counts as rejected."""

    states: dict[State, int]
    settled_last_minute: int
    oldest_unfinished: OldestUnfinished | None


def read_standing(connection: Connection) -> TransferCounts:
    """Count all transfers by state, and find the oldest that has not ended.

    Costs a pass over those under way, and one over those that ended since the last `count_up`
    and within the last minute.
    """
    states = dict.fromkeys((*UNFINISHED, *FINISHED), 0)
    for state, count in connection.execute(_UNDER_WAY):
        states[cast(State, state)] = count
    # Read apart, so that the planner knows how little is asked for and takes the index.
    kept = connection.execute(_KEPT).all()
    for state, count, _ in kept:
        states[cast(State, state)] = count
    since = {"up_to": min(up_to for *_, up_to in kept), "window": WINDOW}
    settled = 0
    for state, count, last_minute in connection.execute(_SINCE, since):
        states[cast(State, state)] += count
        settled += last_minute
    return TransferCounts(states, settled, _oldest(connection.execute(_OLDEST).one_or_none()))


def count_up(connection: Connection, *, settle_after: timedelta = SETTLE_AFTER) -> int:
    """Carry the kept counts on to that long ago. Harmless beside another and at any time.

    Returns: how many were added.
    """
    after = max(connection.scalars(_KEPT_LOCKED))
    up_to = connection.execute(_UP_TO, {"settle_after": settle_after}).scalar_one()
    if up_to <= after:
        return 0
    counted = connection.execute(_BETWEEN, {"after": after, "up_to": up_to})
    added = {row.state: row.total for row in counted}
    for state in FINISHED:
        new = {"state": state, "added": added.get(state, 0), "up_to": up_to}
        connection.execute(_ADD, new)
    return sum(added.values())


def _oldest(row: Row[Any] | None) -> OldestUnfinished | None:
    if row is None:
        return None
    return OldestUnfinished(row.id, cast(UnfinishedState, row.state), max(float(row.age_s), 0.0))


_UNDER_WAY = text("SELECT state, count(*) FROM unfinished GROUP BY state")

_OLDEST = text("""
SELECT transfers.id, oldest.state,
       extract(epoch FROM clock_timestamp() - transfers.created_at) AS age_s
FROM (SELECT transfer_id, state FROM unfinished ORDER BY seq LIMIT 1) AS oldest
JOIN transfers ON transfers.id = oldest.transfer_id
""")

_KEPT = text("SELECT state, count, up_to FROM ended_counts")
_KEPT_LOCKED = text("SELECT up_to FROM ended_counts ORDER BY state FOR UPDATE")
"""They share one time: they are carried on together."""

_SINCE = text("""
SELECT state, count(*) FILTER (WHERE at >= :up_to), count(*) FILTER (WHERE at > now() - :window)
FROM (
    SELECT state, finished_at AS at FROM outcomes
    WHERE finished_at >= :up_to OR finished_at > now() - :window
    UNION ALL
    SELECT 'rejected', refused_at FROM refused_requests
    WHERE refused_at >= :up_to OR refused_at > now() - :window
) AS ended
GROUP BY state
""")

_BETWEEN = text("""
SELECT state, count(*) AS total
FROM (
    SELECT state FROM outcomes WHERE finished_at >= :after AND finished_at < :up_to
    UNION ALL
    SELECT 'rejected' FROM refused_requests WHERE refused_at >= :after AND refused_at < :up_to
) AS ended
GROUP BY state
""")

# A time is stamped within the transaction, so never before its start: what is stamped before
# the start of the oldest one that is open, and writes, is there for all to see. One that has
# not written yet is no older than our time-outs allow, and neither is one of another role,
# of which we are not told: that is what SETTLE_AFTER is for.
_UP_TO = text("""
SELECT least(now() - :settle_after, min(xact_start))
FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
""")

_ADD = text("UPDATE ended_counts SET count = count + :added, up_to = :up_to WHERE state = :state")
