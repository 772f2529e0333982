"""Faults inside a batch: they hit the batch that is held up, and no other."""

from __future__ import annotations

from ledger.postgres.database import transaction
from ledger.postgres.running_steps import lock_key
from testing.bank import Bank
from testing.storm.step_faults import credited_in


def test_a_destination_is_frozen_only_in_the_batch_that_is_held_up(bank: Bank) -> None:
    source = bank.wallet(1_000)
    destinations = [bank.wallet() for _ in range(3)]
    batches = [
        bank.reach("credited", bank.request(source, each, 100 + number))
        for number, each in enumerate(destinations)
    ]
    for batch, destination in zip(batches, destinations, strict=True):
        with transaction(bank.engine) as connection:
            found = credited_in(connection, lock_key(batch))
        assert found is not None
        assert found[1] == destination.id
    with transaction(bank.engine) as connection:
        assert credited_in(connection, 1) is None
