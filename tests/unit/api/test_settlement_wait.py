"""Settlement wait: waiting for the end of a transfer, without a database."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

from api.transfers.settlement_wait import SettlementWaiter
from ledger.errors import Unavailable
from ledger.transfers import Transfer
from testing.worker_processes import eventually


class FakeLedger:
    """A ledger that knows which transfers have ended, and records each query."""

    def __init__(self) -> None:
        self.ended: dict[UUID, Transfer] = {}
        self.asked: list[int] = []
        self.broken = False

    def __call__(self, transfer_ids: list[UUID]) -> Mapping[UUID, Transfer]:
        self.asked.append(len(transfer_ids))
        if self.broken:
            raise Unavailable
        return {id: self.ended[id] for id in transfer_ids if id in self.ended}


def committed(transfer_id: UUID) -> Transfer:
    now = datetime.now(UTC)
    return Transfer(
        id=transfer_id,
        client_id=uuid4(),
        idempotency_key="key",
        source_id=uuid4(),
        destination_id=uuid4(),
        asset="USD",
        scale=2,
        amount_minor=1,
        state="committed",
        capture="auto",
        expires_at=None,
        reference=None,
        metadata={},
        failure=None,
        refund_of=None,
        refunded_minor=0,
        group_id=None,
        created_at=now,
        updated_at=now,
        fingerprint=b"",
    )


def test_a_waiter_is_woken_by_the_end_of_its_transfer() -> None:
    ledger, transfer_id = FakeLedger(), uuid4()
    waiter = SettlementWaiter(ledger, slots=2)
    begun = time.monotonic()
    threading.Timer(0.1, lambda: ledger.ended.update({transfer_id: committed(transfer_id)})).start()
    waited = waiter.wait(transfer_id, timeout_s=10)
    assert waited.applied
    assert waited.transfer == ledger.ended[transfer_id]
    assert 0.1 <= time.monotonic() - begun < 2


def test_a_waiter_gives_up_when_its_time_is_over() -> None:
    waiter = SettlementWaiter(FakeLedger(), slots=2)
    begun = time.monotonic()
    waited = waiter.wait(uuid4(), timeout_s=0.1)
    assert (waited.applied, waited.transfer) == (True, None)
    assert time.monotonic() - begun < 2


def test_one_query_serves_all_waiters() -> None:
    ledger, ids = FakeLedger(), [uuid4() for _ in range(20)]
    waiter = SettlementWaiter(ledger, slots=20)
    results: list[Transfer | None] = []
    threads = [
        threading.Thread(
            target=lambda id=id: results.append(waiter.wait(id, timeout_s=10).transfer)
        )
        for id in ids
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: max(ledger.asked, default=0) == 20)
    ledger.ended = {id: committed(id) for id in ids}
    for thread in threads:
        thread.join()
    assert {transfer.id for transfer in results if transfer} == set(ids)


def test_a_waiter_without_a_slot_returns_at_once() -> None:
    waiter = SettlementWaiter(FakeLedger(), slots=0)
    assert not waiter.wait(uuid4(), timeout_s=10).applied


def test_the_waiter_continues_after_a_database_outage() -> None:
    ledger, transfer_id = FakeLedger(), uuid4()
    ledger.broken = True
    ledger.ended[transfer_id] = committed(transfer_id)
    waiter = SettlementWaiter(ledger, slots=2)
    threading.Timer(0.2, lambda: setattr(ledger, "broken", False)).start()
    assert waiter.wait(transfer_id, timeout_s=10).transfer is not None


def test_an_idle_waiter_has_no_thread_and_gets_one_again() -> None:
    ledger = FakeLedger()
    waiter = SettlementWaiter(ledger, slots=2)
    before = set(threading.enumerate())
    waiter.wait(uuid4(), timeout_s=0.05)
    assert ledger.asked
    eventually(lambda: set(threading.enumerate()) <= before, within_s=5)
    transfer_id = uuid4()
    ledger.ended[transfer_id] = committed(transfer_id)
    assert waiter.wait(transfer_id, timeout_s=5).transfer is not None


def test_the_waiter_keeps_working_after_callers_that_left_at_once() -> None:
    ledger = FakeLedger()
    waiter = SettlementWaiter(ledger, slots=2)
    for _ in range(2_000):
        waiter.wait(uuid4(), timeout_s=0)
    transfer = committed(uuid4())
    ledger.ended[transfer.id] = transfer
    assert waiter.wait(transfer.id, timeout_s=5).transfer == transfer
