"""Session: whom a client calls, with which key and within which limits. Does no I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from truepenny.environment import Server
from truepenny.idempotency import transfer_id
from truepenny.protocol.brake import Brake, brake_of

DEADLINE_S = 60.0
TIMEOUT_S = 10.0
RETRIES = 5


@dataclass
class Session:
    """What all calls of one client share."""

    server: Server
    deadline_s: float = DEADLINE_S
    """How long one call may take, with all its attempts and pauses."""
    timeout_s: float = TIMEOUT_S
    """How long one attempt may take, on top of what the server is asked to wait."""
    retries: int = RETRIES
    client_id: str | None = None
    """The client that the key belongs to, once that is known."""
    _brakes: dict[bool, Brake] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises: ValueError: when a limit is none."""
        if not (self.deadline_s > 0 and self.timeout_s > 0 and self.retries >= 0):
            raise ValueError("deadline and timeout are above zero, and retries not below it")
        self._brakes = {
            is_read: brake_of(self.server.base_url, self.server.api_key, kind)
            for is_read, kind in ((True, "read"), (False, "write"))
        }

    def brake(self, *, is_read: bool) -> Brake:
        """Return the brake for reads or for writes: the server counts them apart."""
        return self._brakes[is_read]

    def transfer_id(self, idempotency_key: str) -> str | None:
        """Return the id of the transfer with this key, if our client's id is known."""
        return self.client_id and transfer_id(self.client_id, idempotency_key)

    def now_s(self) -> float:
        """Return a time that only goes forward."""
        return time.monotonic()
