"""Actions of a plan, and what a driver reports back about each.

A plan is a generator. It yields what is to be done next and is sent the outcome; it does no I/O
itself. So every decision is written once, for blocking and for asynchronous drivers.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send one HTTP request."""

    method: str
    path: str
    """Below the server's address, with its query."""
    headers: Mapping[str, bytes]
    body: bytes | None
    timeout_s: float
    """How long all of it may take."""


@dataclass(frozen=True)
class Sleep:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class HttpAnswer:
    """What a server, or a proxy before it, answered."""

    status: int
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: bytes


@dataclass(frozen=True)
class SendFailure:
    """A request that got no whole answer."""

    reason: str
    has_left: bool
    """Whether any of it may have arrived. False only when no connection was made."""


Action = Send | Sleep
Outcome = HttpAnswer | SendFailure | None
"""None: of a pause, and to start a plan."""
Plan = Generator[Action, Outcome, T]
