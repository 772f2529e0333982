"""The retry policy of tasks, as a pure function from attempt to delay."""

from __future__ import annotations

import random

MAX_RETRIES = 5
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 3.0


def delay_s(attempt: int, *, jitter: float | None = None) -> float:
    """Return the seconds to wait before retry `attempt` (0 is the first): exponential, jittered.

    jitter: from 0 to 1, random by default. The delay lies between half and all of
    FIRST_DELAY_S * 2**attempt, bounded by MAX_DELAY_S, so it never becomes a long ETA: after
    MAX_RETRIES the transfers wait in the database for the recovery scan instead.
    """
    share = random.random() if jitter is None else jitter  # noqa: S311 - not a secret
    full = min(FIRST_DELAY_S * 2.0**attempt, MAX_DELAY_S)
    return full * (0.5 + share / 2)
