"""The schedule: each scan that beat sends, and how often.

No message expires. Celery compares the time of expiry with the worker's clock: with clocks that
differ by more, every message would be dropped unseen. Late messages are few, since beat adds none
where five wait, and harmless, since a scan that has nothing to do does nothing.
"""

from __future__ import annotations

from typing import Any

from settings import Settings
from tasks import drain, prices, reconciliation, recovery, server_watch, transfer_counts
from tasks.broker import queues

SCANS_PER_STUCK_TIME = 5
"""Scans per STUCK_AFTER_S: a stuck transfer is found after 1.2 times that time at most."""
MIN_SCAN_INTERVAL_S = 0.2

DRAIN_EVERY_S = 1.0
RECONCILE_TICK_S = 2.0
"""How often a run of the consistency scan continues, less than that at a time. RECONCILE_EVERY_S
says when a new run begins."""
COUNT_EVERY_S = 30.0
PRICES_EVERY_S = 2.0
WATCH_SERVERS_EVERY_S = 10.0


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the entries for Celery's `beat_schedule`; schedules in seconds."""
    refresh_prices = {
        "task": prices.TASK_NAME,
        "schedule": PRICES_EVERY_S,
        "options": {"queue": queues.WATCH},
    }
    interval_s = max(settings.stuck_after_s / SCANS_PER_STUCK_TIME, MIN_SCAN_INTERVAL_S)
    return {
        "recovery scan": {
            "task": recovery.TASK_NAME,
            "schedule": interval_s,
            "options": {"queue": queues.SCANS},
        },
        "intake drain": {
            "task": drain.TASK_NAME,
            "schedule": DRAIN_EVERY_S,
            "options": {"queue": queues.SCANS},
        },
        "reconciliation": {
            "task": reconciliation.TASK_NAME,
            "schedule": min(RECONCILE_TICK_S, settings.reconcile_every_s),
            "options": {"queue": queues.SCANS},
        },
        "counts": {
            "task": transfer_counts.TASK_NAME,
            "schedule": COUNT_EVERY_S,
            "options": {"queue": queues.SCANS},
        },
        **({"prices": refresh_prices} if settings.price_symbols else {}),
        "watch over the servers": {
            "task": server_watch.TASK_NAME,
            "schedule": WATCH_SERVERS_EVERY_S,
            "options": {"queue": queues.WATCH},
        },
    }
