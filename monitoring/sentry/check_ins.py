"""Check-ins: Sentry hears once a minute that what is to be done again and again is done.

Guarantees that work which runs every second costs one message a minute, that one which fails
is told as soon as nothing has succeeded for a minute, and that silence tells of itself: a
monitor that misses its check-ins is one whose beat, broker or worker is gone.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

EVERY_S: Final = 60.0
"""Sentry's monitors know no shorter interval."""
MARGIN_MINUTES: Final = 2
"""How late a check-in may be: a worker that is started anew takes a while."""

_enabled = False


@dataclass
class _Told:
    """What was told last of one task, and when it last did what it should."""

    ok: bool = True
    at_s: float = -math.inf
    succeeded_at_s: float = -math.inf


class Rhythm:
    """Decides which of many runs are told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def is_due(self, task: str, *, ok: bool) -> bool:
        """Count a run. Returns: whether it is to be told."""
        now_s, told = self._clock(), self._told.setdefault(task, _Told())
        if ok:
            told.succeeded_at_s = now_s
        elif now_s - told.succeeded_at_s < EVERY_S:
            return False  # others did what this one failed to do
        if told.ok == ok and now_s - told.at_s < EVERY_S:
            return False
        told.ok, told.at_s = ok, now_s
        return True


_rhythm = Rhythm()
_did_all = True
"""What the run that is under way says of itself; a process is at one task at a time."""


def enable() -> None:
    """Send check-ins from now on."""
    global _enabled, _rhythm
    _enabled, _rhythm = True, Rhythm()


def begin() -> None:
    """Begin a run, which did all that it should unless it says otherwise, or raises."""
    note(ok=True)


def note(*, ok: bool) -> None:
    """Say of the run that is under way whether it could do what it should."""
    global _did_all  # noqa: PLW0603 - see there
    _did_all = ok


def done(task: str, *, raised: bool, every_s: float, took_s: float) -> None:
    """Count a run of a task that is due every so often, and tell of it where that is due."""
    ok = _did_all and not raised
    if _enabled and _rhythm.is_due(task, ok=ok):
        import sentry_sdk

        sentry_sdk.crons.capture_checkin(
            monitor_slug=slug(task),
            status="ok" if ok else "error",
            duration=took_s,
            monitor_config=config(every_s),  # type: ignore[arg-type]  # the SDK's own shape
        )


def slug(task: str) -> str:
    """The monitor's name: "scans.recover" is `scans-recover`."""
    return re.sub(r"[^a-z0-9-]+", "-", task.lower())[:50]


def config(every_s: float) -> dict[str, Any]:
    """The monitor's schedule, which Sentry makes or brings up to date with each check-in."""
    return {
        "schedule": {
            "type": "interval",
            "value": max(1, math.ceil(every_s / 60)),
            "unit": "minute",
        },
        "checkin_margin": MARGIN_MINUTES,
        "timezone": "UTC",
    }
