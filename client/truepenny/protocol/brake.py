"""The brake: after a 429 all requests of this process to that server pause, not just one.

It is shared by all clients of one process that use one key at one server. Else each thread
would have to be turned away before it slows down. It has no locks, which a fork could leave
locked: of two threads that hold it at once, the shorter hold may win.
"""

from __future__ import annotations

import hashlib
import time

MAX_HOLD_S = 60.0
"""A wrong Retry-After must not silence a process for good."""
_MAX_BRAKES = 1_000


class Brake:
    """The time until which nothing is sent. Times are those of `Session.now_s`."""

    def __init__(self) -> None:
        self._until_s = 0.0

    def hold(self, now_s: float, seconds: float) -> None:
        """Hold for at least so long from now, up to MAX_HOLD_S. Then one request tries again."""
        self._until_s = max(self._until_s, now_s + min(seconds, MAX_HOLD_S))

    def left_s(self, now_s: float) -> float:
        """Return how long it holds from now."""
        return max(0.0, self._until_s - now_s)


_brakes: dict[bytes, Brake] = {}


def brake_of(base_url: str, api_key: str, kind: str) -> Brake:
    """Return the brake of this process for a server, a key and a kind of request."""
    name = hashlib.sha256(f"{base_url}\n{api_key}\n{kind}".encode()).digest()
    if name not in _brakes and len(_brakes) >= _MAX_BRAKES:
        for each, brake in list(_brakes.items()):
            if not brake.left_s(time.monotonic()):
                _brakes.pop(each, None)
    return _brakes.setdefault(name, Brake())
