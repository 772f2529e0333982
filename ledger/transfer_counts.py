"""Transfer counts by state, exact and cheap however many transfers there are.

Guarantees exact numbers without counting a transfer twice. Unfinished transfers are counted
each time; they are few. Ended transfers never become fewer: the table `ended_counts` has their
number up to a time before which none can be added, and an index on time finds the later ones.
(A server that takes over with a clock far behind may still add one before that time. It is then
missing from the counts, and from nothing else.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

from sqlalchemy import Connection, text

from ledger.states import FINISHED, UNFINISHED, State, UnfinishedState

SETTLE_AFTER: Final = timedelta(minutes=1)
"""Transfers that ended longer ago are added to the kept counts."""
WINDOW: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class OldestUnfinished:
    """The unfinished transfer that was accepted first."""

    id: UUID
    state: UnfinishedState
    age_s: float


@dataclass(frozen=True, slots=True)
class TransferCounts:
    """Transfers by state. A buffered request that was rejected on replay counts as rejected."""

    states: dict[State, int]
    settled_last_minute: int
    oldest_unfinished: OldestUnfinished | None


def count_transfers(connection: Connection) -> TransferCounts:
    """Count all transfers by state, and find the oldest that has not ended.

    Reads all unfinished transfers, and those that ended since the last `extend_kept_counts` or
    within the last minute.
    """
    states = dict.fromkeys((*UNFINISHED, *FINISHED), 0)
    for state, count in connection.execute(_UNDER_WAY):
        states[cast(State, state)] = count
    # Read in a statement of its own: the planner then knows the time, and uses the index.
    kept = connection.execute(_KEPT).all()
    for state, count, _ in kept:
        states[cast(State, state)] = count
    since = {"up_to": min(up_to for *_, up_to in kept), "window": WINDOW}
    settled = 0
    for state, count, last_minute in connection.execute(_SINCE, since):
        states[cast(State, state)] += count
        settled += last_minute
    row = connection.execute(_OLDEST).one_or_none()
    oldest = None
    if row is not None:
        age_s = max(float(row.age_s), 0.0)
        oldest = OldestUnfinished(row.id, cast(UnfinishedState, row.state), age_s)
    return TransferCounts(states, settled, oldest)


def extend_kept_counts(connection: Connection, *, settle_after: timedelta = SETTLE_AFTER) -> int:
    """Add the transfers that ended since the last call to the kept counts.

    settle_after: leave out those that ended more recently. Harmless beside another call.
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


_UNDER_WAY = text("SELECT state, count(*) FROM unfinished GROUP BY state")

_OLDEST = text("""
SELECT transfers.id, oldest.state,
       extract(epoch FROM clock_timestamp() - transfers.created_at) AS age_s
FROM (SELECT transfer_id, state FROM unfinished ORDER BY seq LIMIT 1) AS oldest
JOIN transfers ON transfers.id = oldest.transfer_id
""")

_KEPT = text("SELECT state, count, up_to FROM ended_counts")
_KEPT_LOCKED = text("SELECT up_to FROM ended_counts ORDER BY state FOR UPDATE")
"""They share one time, since they are extended together."""

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

# An end gets its time within its transaction, so never before that transaction began. So all
# ends before the start of the oldest open transaction that writes are committed and visible.
# A transaction that has not written yet, or one of another role, whose start is hidden from us,
# is no older than our time-outs allow: SETTLE_AFTER leaves room for those.
_UP_TO = text("""
SELECT least(now() - :settle_after, min(xact_start))
FROM pg_stat_activity
WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()
""")

_ADD = text("UPDATE ended_counts SET count = count + :added, up_to = :up_to WHERE state = :state")
