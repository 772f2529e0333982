"""Check-ins: report to Sentry once a minute whether each scheduled task still succeeds.

Guarantees that a task which runs every second costs one message a minute, and that a failure is
reported as soon as no run has succeeded for a minute. Missing check-ins are an alert of their
own: beat, the broker or the worker is gone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

EVERY_S: Final = 60.0
"""The shortest interval of Sentry's monitors."""
MARGIN_MINUTES: Final = 2
"""How late a check-in may be: the restart of a worker takes a while."""

_enabled = False


@dataclass
class _TaskState:
    """The last check-in of a task, and when the task last succeeded."""

    ok: bool = True
    at_s: float = -math.inf
    succeeded_at_s: float = -math.inf


class CheckInThrottle:
    """Decides which of many runs are reported."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tasks: dict[str, _TaskState] = {}

    def is_due(self, task: str, *, ok: bool) -> bool:
        """Count a run. Returns: whether to send a check-in."""
        now_s, state = self._clock(), self._tasks.setdefault(task, _TaskState())
        if ok:
            state.succeeded_at_s = now_s
        elif now_s - state.succeeded_at_s < EVERY_S:
            return False  # another run succeeded where this one failed
        if state.ok == ok and now_s - state.at_s < EVERY_S:
            return False
        state.ok, state.at_s = ok, now_s
        return True


_throttle = CheckInThrottle()
_did_all = True
"""The result of the current run; a process runs one task at a time."""


def enable() -> None:
    """Send check-ins from now on."""
    global _enabled, _throttle
    _enabled, _throttle = True, CheckInThrottle()


def begin() -> None:
    """Begin a run. It counts as successful unless it raises or calls `note(ok=False)`."""
    note(ok=True)


def note(*, ok: bool) -> None:
    """Set whether the current run has done its work."""
    global _did_all  # noqa: PLW0603 - one task at a time
    _did_all = ok


def done(task: str, *, raised: bool, every_s: float, took_s: float) -> None:
    """Count a run of a scheduled task, and send a check-in if one is due."""
    ok = _did_all and not raised
    if _enabled and _throttle.is_due(task, ok=ok):
        import sentry_sdk

        sentry_sdk.crons.capture_checkin(
            monitor_slug=slug(task),
            status="ok" if ok else "error",
            duration=took_s,
            monitor_config=config(every_s),  # type: ignore[arg-type]  # the SDK's own shape
        )


def slug(task: str) -> str:
    """Return the name of a task's monitor: `scans-recover` for "scans.recover"."""
    return re.sub(r"[^a-z0-9-]+", "-", task.lower())[:50]


def config(every_s: float) -> dict[str, Any]:
    """Return the monitor's schedule, which Sentry creates or updates with each check-in."""
    return {
        "schedule": {
            "type": "interval",
            "value": max(1, math.ceil(every_s / 60)),
            "unit": "minute",
        },
        "checkin_margin": MARGIN_MINUTES,
        "timezone": "UTC",
    }
