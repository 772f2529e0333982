"""The Prefer header (RFC 7240), of which we know one preference: wait."""

from __future__ import annotations

import re

MAX_WAIT_S = 20

# Split at commas, but not at those within a quoted string.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*(?:([0-9]{1,9})|"([0-9]{1,9})")\s*(?:;.*)?', re.IGNORECASE)


def wait_seconds(prefer: str | None) -> int:
    """Return how long the client would like us to wait, at most MAX_WAIT_S; 0 for not at all.

    As the RFC says, what is unknown or malformed is ignored, and of two the first counts.
    """
    for preference in _PREFERENCE.findall(prefer or ""):
        if match := _WAIT.fullmatch(preference):
            return min(int(match.group(1) or match.group(2)), MAX_WAIT_S)
    return 0
