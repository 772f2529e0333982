"""Load plan: which requests to send, over how many connections and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoadPlan:
    """One load on one API. Each transfer moves one US cent between two of the wallets.

    batch: transfers in a request; 1 sends single ones. wait_s: what `Prefer: wait` asks for, 0 for
    no waiting. every_s: the mean pause between two requests of a connection, 0 for none.
    """

    port: int
    api_key: str
    wallets: tuple[str, ...]
    prefix: str
    """Begins every idempotency key of this load."""
    seconds: float
    connections: int
    batch: int = 1
    wait_s: int = 0
    every_s: float = 0.0


@dataclass(frozen=True)
class LoadResult:
    """The answers to a load. statuses: the number of answers by HTTP status."""

    generator: str
    seconds: float
    accepted: int
    """Transfers, not requests."""
    statuses: dict[str, int]
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """Used by the generator."""
