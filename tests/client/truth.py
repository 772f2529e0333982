"""Compares what the client said about transfers with what the ledger did."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import truepenny
from ledger.ids import transfer_id
from ledger.wallets import Wallet
from testing.worker_processes import eventually
from tests.client.conftest import Engine
from truepenny import Truepenny

THREADS = 8
LATE_S = 1.0
"""Within which a request that nobody waits for any more has reached the ledger."""


@dataclass
class Told:
    """What the client said about each key."""

    done: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    not_recorded: set[str] = field(default_factory=set)

    def create(self, tp: Truepenny, source: Wallet, destination: Wallet, key: str) -> None:
        """Submit 1 USD, and note what is said about it."""
        try:
            sent = tp.transfers.create(
                source=source.id,
                destination=destination.id,
                amount=1,
                asset="USD",
                idempotency_key=key,
            )
        except truepenny.OutcomeUnknown as error:
            self.unknown.add(str(error.idempotency_key))
        except truepenny.NotRecorded:
            self.not_recorded.add(key)
        else:
            assert sent.idempotency_key == key
            self.done.add(key)

    def create_all(
        self, tp: Truepenny, source: Wallet, destination: Wallet, keys: list[str]
    ) -> None:
        """Submit one transfer for each key, from several threads."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda key: self.create(tp, source, destination, key), keys))


def holds_true(running: Engine, told: Told, destination: Wallet, keys: list[str]) -> Counter[str]:
    """Check that each key moved 1 USD once, or not at all where that was said or left open.

    Returns: how many of those that were left open had been recorded, and how many had not.
    """
    client = running.owners["client"].id
    ids = {key: transfer_id(client, key) for key in keys}
    time.sleep(LATE_S)
    eventually(
        lambda: running.bank.states(list(ids.values())) <= {"committed", "unknown"}, within_s=60
    )
    recorded = {key for key, id in ids.items() if running.bank.states([id]) == {"committed"}}
    assert told.done | told.unknown | told.not_recorded == set(keys)
    assert told.done <= recorded, "one that was reported as recorded is lost"
    assert not told.not_recorded & recorded, "one that was reported as not recorded was recorded"
    assert running.bank.look(destination).available == 100 * len(recorded), "one was doubled"
    running.bank.audit()
    return Counter(
        recorded=len(told.unknown & recorded),
        absent=len(told.unknown - recorded),
    )
