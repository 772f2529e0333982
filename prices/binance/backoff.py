"""What an HTTP answer of Binance means for whom we may ask next, as one table.

Guarantees that a limit or a ban pauses *all* hosts: it counts by our address, so asking
another host would only prolong it. Every pause is bounded, whatever a header says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

LIMITED_S = (5, 60, 3_600)
BANNED_S = (5, 300, 3 * 86_400)
"""Least, default and most seconds of a pause after 429 and 418; Binance bans up to three days."""
BLOCKED_S = 600
"""How long a host is left alone that blocks us by law (451) or by firewall (403)."""
BUSY_S = ((4_800, 60), (3_000, 10))
"""From a used weight on, all hosts pause for so many seconds. The limit is 6,000 a minute."""
LATE_S = 30
"""How long a host that failed comes last."""
_WEIGHT_HEADER = "X-MBX-USED-WEIGHT-1M"


@dataclass(frozen=True, slots=True)
class BackoffVerdict:
    """For how many seconds not to ask anybody, not to ask this host, and to ask it last."""

    pause_all_s: int = 0
    leave_out_s: int = 0
    ask_last_s: int = 0


def verdict_on(status: int, headers: Mapping[str, str]) -> BackoffVerdict:
    """Judge an answer by its status and headers. A 200 may still be busy, or garbage."""
    match status:
        case HTTPStatus.OK | HTTPStatus.BAD_REQUEST:  # 400: it is the request that is wrong
            return BackoffVerdict(pause_all_s=_busy_s(headers))
        case HTTPStatus.TOO_MANY_REQUESTS:
            return BackoffVerdict(pause_all_s=_retry_after_s(headers, *LIMITED_S))
        case 418:  # http.HTTPStatus has only its teapot
            return BackoffVerdict(pause_all_s=_retry_after_s(headers, *BANNED_S))
        case HTTPStatus.FORBIDDEN | HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
            return BackoffVerdict(leave_out_s=BLOCKED_S)
        case _:
            return BackoffVerdict(ask_last_s=LATE_S)


def _retry_after_s(headers: Mapping[str, str], least: int, default: int, most: int) -> int:
    """What the header asks for, in seconds; a date or garbage counts as absent."""
    asked = _whole_number(headers.get("Retry-After", ""))
    return default if asked is None else min(max(asked, least), most)


def _busy_s(headers: Mapping[str, str]) -> int:
    weight = _whole_number(headers.get(_WEIGHT_HEADER, "")) or 0
    return next((pause_s for bound, pause_s in BUSY_S if weight >= bound), 0)


def _whole_number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
