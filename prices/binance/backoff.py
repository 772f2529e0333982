"""Backoff policy: maps the status and headers of Binance's answers to pauses, as one table.

Guarantees that a rate limit or a ban pauses *all* hosts: Binance counts by client address, so a
request to another host would only prolong it. Every pause has a maximum, whatever a header says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

LIMITED_S = (5, 60, 3_600)
BANNED_S = (5, 300, 3 * 86_400)
"""Minimum, default and maximum pause after 429 and 418. Binance bans for up to three days."""
BLOCKED_S = 600
"""Pause of a host that blocks us for legal reasons (451) or by its firewall (403)."""
BUSY_S = ((4_800, 60), (3_000, 10))
"""Pairs of a used weight and the pause of all hosts from there on. The limit is 6,000 a minute."""
LATE_S = 30
"""How long a host that failed is asked last."""
_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"


@dataclass(frozen=True, slots=True)
class BackoffVerdict:
    """For how long to ask no host, to skip this host, and to ask this host last."""

    pause_all_s: int = 0
    leave_out_s: int = 0
    ask_last_s: int = 0


def verdict_on(status: int, headers: Mapping[str, str]) -> BackoffVerdict:
    """Return the pauses after an answer. A 200 may report that the limit is near."""
    match status:
        case HTTPStatus.OK | HTTPStatus.BAD_REQUEST:  # 400: our request was wrong
            weight = _whole_number(headers.get(_WEIGHT_HEADER, "")) or 0
            busy_s = next((pause_s for bound, pause_s in BUSY_S if weight >= bound), 0)
            return BackoffVerdict(pause_all_s=busy_s)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return BackoffVerdict(pause_all_s=_retry_after_s(headers, *LIMITED_S))
        case 418:  # I_AM_A_TEAPOT in HTTPStatus; Binance bans with it
            return BackoffVerdict(pause_all_s=_retry_after_s(headers, *BANNED_S))
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
            return BackoffVerdict(leave_out_s=BLOCKED_S)
        case _:
            return BackoffVerdict(ask_last_s=LATE_S)


def _retry_after_s(headers: Mapping[str, str], minimum: int, default: int, maximum: int) -> int:
    """Return the seconds that the header asks for; a date or an invalid value counts as absent."""
    asked = _whole_number(headers.get("Retry-After", ""))
    return default if asked is None else min(max(asked, minimum), maximum)


def _whole_number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
