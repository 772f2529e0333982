"""The queues, by purpose: money apart from the rest, and new work apart from begun work."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery

ADVANCE: Final = "money.advance"
"""Batches under way. Workers look here first (see `workers.celery_app`): what was begun never
waits behind what is new, and under load the next batch grows meanwhile."""
RESERVE: Final = "money.reserve"
"""Kicks: each says no more than that something may have been accepted."""
SCANS: Final = "scans"
"""Beat's work: looking after what stands still."""
WATCH: Final = "watch"
"""Beat's looks at the outside: what goes on while the database is away, when scans stop."""

HINTS: Final = (ADVANCE, RESERVE, SCANS, WATCH)
"""The queues that may be thrown away: the database knows what their messages say."""

ROUTES: Final = {
    "money.reserve": {"queue": RESERVE},
    "money.*": {"queue": ADVANCE},
    "scans.*": {"queue": SCANS},
    "intake.*": {"queue": SCANS},
    "prices.*": {"queue": WATCH},
    "monitors.*": {"queue": WATCH},
}
"""Which queue a task goes to, by its name; a whole name counts before a pattern."""


ACQUIRE_TIMEOUT_S = 2.0


def count_waiting(app: Celery, name: str) -> int:
    """How many messages nobody has taken from the queue yet, whatever kind the broker is.

    Declares the queue where it is missing, as a worker does.
    Raises: whatever the broker's client raises when the broker does not answer.
    """
    pool: Any = app.pool  # of connections, whatever the type stubs say
    with pool.acquire(block=True, timeout=ACQUIRE_TIMEOUT_S) as connection:
        declared: Any = app.amqp.queues[name].bind(connection.default_channel).queue_declare()
        return int(declared.message_count)


def lengths(app: Celery) -> dict[str, int]:
    """How many messages wait, by queue. Raises: as `count_waiting`."""
    return {name: count_waiting(app, name) for name in HINTS}
