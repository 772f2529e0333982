"""Accounts: a client with funded wallets, made over HTTP as a customer would."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from bench.target.running_stack import RunningStack

WALLETS = 1_000
_FUNDS = "1000000.00"
_FUNDED_WITHIN_S = 120.0


@dataclass(frozen=True)
class Accounts:
    """A client without limits, and its wallets in US dollars."""

    api_key: str
    client_id: str
    wallets: tuple[str, ...]


def make_accounts(stack: RunningStack, *, count: int = WALLETS) -> Accounts:
    """Make the client and its wallets, and wait until they are funded.

    Raises: SystemExit: when the funds do not arrive.
    """
    unlimited = {"name": "bench", "rate_limit": "none", "item_limit": "none"}
    client = stack.admin.post("/v1/clients", unlimited)
    owner = stack.client(client["api_key"])
    outside = stack.admin.post("/v1/wallets", {"asset": "USD", "kind": "external"})
    wallets = tuple(owner.post("/v1/wallets", {"asset": "USD"})["id"] for _ in range(count))
    transfers = [
        {
            "idempotency_key": str(uuid.uuid4()),
            "source": outside["id"],
            "destination": wallet,
            "asset": "USD",
            "amount": _FUNDS,
        }
        for wallet in wallets
    ]
    stack.admin.post("/v1/transfers/batch", {"transfers": transfers})
    deadline_s = time.monotonic() + _FUNDED_WITHIN_S
    while owner.get(f"/v1/wallets/{wallets[-1]}")["available"] != _FUNDS:
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the wallets have no funds after {_FUNDED_WITHIN_S:g} s")
        time.sleep(0.1)
    return Accounts(client["api_key"], client["id"], wallets)
