"""The queues: their names, which task goes to which, and how many messages wait.

The names here are those of routes, command lines and metrics. On the broker each has the prefix
of its installation: on RabbitMQ in the queue's own name, on Redis in the key.

Money has queues apart from scans, and batches under way have one apart from new work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # `make up` reads the names, and has no other use for Celery
    from celery import Celery

ADVANCE: Final = "money.advance"
"""Batches under way. Workers read this queue first (see `workers.celery_app`): a batch that has
begun never waits behind new work, and under load the next batch grows meanwhile."""
RESERVE: Final = "money.reserve"
"""Kicks: each says only that transfers may have been accepted."""
SCANS: Final = "scans"
"""Scans that need the database: recovery, drain, reconciliation, counts."""
WATCH: Final = "watch"
"""Scans that need no database, and so go on while it is away: prices, servers."""

HINTS: Final = (ADVANCE, RESERVE, SCANS, WATCH)
"""Queues whose messages may be thrown away: the database knows all that they say."""

ROUTES: Final = {
    "money.reserve": {"queue": RESERVE},
    "money.*": {"queue": ADVANCE},
    "scans.*": {"queue": SCANS},
    "intake.*": {"queue": SCANS},
    "prices.*": {"queue": WATCH},
    "monitors.*": {"queue": WATCH},
}
"""The queue of each task, by its name. A full name takes precedence over a pattern."""


ACQUIRE_TIMEOUT_S = 2.0


def count_waiting(app: Celery, name: str) -> int:
    """Return how many messages wait in the queue, on Redis and on RabbitMQ alike.

    Declares the queue if it is missing, as a worker does.
    Raises: kombu.exceptions.OperationalError: when the broker does not answer, as a publication.
    """
    pool: Any = app.pool  # a pool of connections; the type stubs are wrong
    with pool.acquire(block=True, timeout=ACQUIRE_TIMEOUT_S) as connection:
        try:
            declared: Any = app.amqp.queues[name].bind(connection.default_channel).queue_declare()
        except connection.connection_errors + connection.channel_errors as error:
            from kombu.exceptions import OperationalError

            raise OperationalError(str(error)) from error
        return int(declared.message_count)


def lengths(app: Celery) -> dict[str, int]:
    """Return how many messages wait, by queue. Raises: as `count_waiting`."""
    return {name: count_waiting(app, name) for name in HINTS}
