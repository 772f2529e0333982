"""Hops: how long a message of the chain takes from its sender to the worker that runs it.

By the clocks of both machines: where these differ, so do the times. A retry waits on purpose, and
a message that is delivered again has waited for something else: neither is measured.
"""

from __future__ import annotations

import time
from typing import Any, Final

from celery import signals

from monitoring.metrics.catalogue import PART_SECONDS

SENT_AT: Final = "sent_at"
"""The header with the time of sending, in seconds since 1970."""
_CHAIN: Final = "money."
_LONGEST_S: Final = 3600.0


def install() -> None:
    """Measure in this process, whether it sends tasks or runs them. Harmless to repeat."""
    signals.before_task_publish.connect(_note)
    signals.task_prerun.connect(_measure)


def _note(sender: str, headers: dict[str, Any], **_: object) -> None:
    if sender.startswith(_CHAIN):
        headers[SENT_AT] = time.time()


def _measure(task: Any, **_: object) -> None:
    request = task.request
    sent_at = (request.headers or {}).get(SENT_AT)
    if not isinstance(sent_at, float) or request.eta is not None:
        return
    hop_s = max(time.time() - sent_at, 0.0)
    # Anybody may have written the time; one that is no number would spoil the sum for good.
    if hop_s <= _LONGEST_S and not (request.delivery_info or {}).get("redelivered"):
        PART_SECONDS.labels("hop").observe(hop_s)
