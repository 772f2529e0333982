"""Pauses between attempts: full jitter, and what a server asks for."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

FIRST_S = 0.2
LONGEST_S = 10.0


def jitter_s(attempt: int) -> float:
    """Return a random pause after the attempt with this number, of which the first is 0.

    Any length up to a bound that doubles each time: clients that failed together come back apart.
    """
    return random.uniform(0, min(LONGEST_S, FIRST_S * 2**attempt))  # noqa: S311 - no secret


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return how long an answer asks to wait, in seconds; 0 if it does not say.

    A date is compared with the answer's own Date, since our clock may differ from the server's.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("date", ""))
        seconds = (_aware(then) - _aware(now)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return max(seconds, 0.0)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
