"""Settlement wait: waiting for the end of a transfer, without a database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

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


class Hints:
    """Hints as workers send them, without a cache."""

    def __init__(self) -> None:
        self.send: Callable[[], None] = lambda: None
        self.started = 0

    def listen(self, heard: Callable[[], None]) -> Hints:
        self.send = heard
        return self

    def start(self) -> None:
        self.started += 1


def hinted_waiter(ledger: FakeLedger) -> tuple[SettlementWaiter, Hints]:
    """Return one whose hints have proved useful."""
    hints = Hints()
    waiter = SettlementWaiter(ledger, slots=4, listen=hints.listen)
    for _ in range(20):
        wait_for_end(waiter, ledger, hints.send)
        ledger.asked.clear()
        waiter.wait(uuid4(), timeout_s=0.3)
        if len(ledger.asked) < 6:
            return waiter, hints
    pytest.fail("hints do not make the queries rare")


def wait_for_end(
    waiter: SettlementWaiter, ledger: FakeLedger, end: Callable[[], None], *, after_s: float = 0.1
) -> float:
    """Wait for a transfer that ends meanwhile. Returns: how long after its end the wait was."""
    transfer = committed(uuid4())
    ended_at_s: list[float] = []

    def ends() -> None:
        ledger.ended[transfer.id] = transfer
        ended_at_s.append(time.monotonic())
        end()

    timer = threading.Timer(after_s, ends)
    timer.start()
    assert waiter.wait(transfer.id, timeout_s=10).transfer == transfer
    woken_at_s = time.monotonic()
    timer.join()
    return woken_at_s - ended_at_s[0]


def test_a_hint_wakes_a_waiter_long_before_the_next_query_would() -> None:
    ledger = FakeLedger()
    waiter, hints = hinted_waiter(ledger)
    delays_s = [wait_for_end(waiter, ledger, hints.send, after_s=0.06) for _ in range(5)]
    assert min(delays_s) < 0.02  # without it 0.05 to 0.2
    assert hints.started


def test_an_end_without_a_hint_is_found_and_then_the_database_is_asked_often() -> None:
    ledger = FakeLedger()
    waiter, hints = hinted_waiter(ledger)
    assert wait_for_end(waiter, ledger, lambda: None) < 1
    ledger.asked.clear()
    waiter.wait(uuid4(), timeout_s=0.5)
    assert len(ledger.asked) > 10
    hinted_again = [wait_for_end(waiter, ledger, hints.send) for _ in range(3)]
    assert min(hinted_again) < 0.05


def test_hints_that_say_nothing_true_end_no_wait_and_cost_few_queries() -> None:
    ledger = FakeLedger()
    waiter, hints = hinted_waiter(ledger)
    ledger.asked.clear()
    stop = threading.Event()

    def flood() -> None:
        while not stop.wait(0.0001):
            hints.send()

    flooding = threading.Thread(target=flood)
    flooding.start()
    begun_s = time.monotonic()
    waited = waiter.wait(uuid4(), timeout_s=0.5)
    took_s = time.monotonic() - begun_s
    stop.set()
    flooding.join()
    assert waited.transfer is None
    assert len(ledger.asked) <= took_s / 0.005 + 1


def test_a_hint_that_comes_during_a_query_is_followed_by_another_one() -> None:
    """What ends after the query has read is not seen by it."""
    ledger = FakeLedger()
    waiter, hints = hinted_waiter(ledger)
    transfer = committed(uuid4())
    timer = threading.Timer(0.06, hints.send)

    def find(transfer_ids: list[UUID]) -> Mapping[UUID, Transfer]:
        found = ledger(transfer_ids)
        if timer.finished.is_set() and transfer.id not in ledger.ended:
            ledger.ended[transfer.id] = transfer
            ended_at_s.append(time.monotonic())
            hints.send()
        return found

    ended_at_s: list[float] = []
    waiter._find_settled = find
    timer.start()
    assert waiter.wait(transfer.id, timeout_s=10).transfer == transfer
    assert time.monotonic() - ended_at_s[0] < 0.1  # without another query 0.2


def test_hints_without_a_waiter_cost_no_query() -> None:
    ledger, hints = FakeLedger(), Hints()
    SettlementWaiter(ledger, slots=1, listen=hints.listen)
    for _ in range(100):
        hints.send()
    assert ledger.asked == []


def test_an_error_of_the_database_does_not_undo_an_end_that_was_found() -> None:
    ledger, hints = FakeLedger(), Hints()
    waiter = SettlementWaiter(ledger, slots=2, listen=hints.listen)
    delays_s = []
    for _ in range(3):
        delays_s.append(wait_for_end(waiter, ledger, hints.send))
        ledger.broken = True
        waiter.wait(uuid4(), timeout_s=0.02)
        ledger.broken = False
    assert max(delays_s) < 1


def test_after_a_query_that_took_long_the_next_comes_soon() -> None:
    ledger, is_slow = FakeLedger(), True

    def find(ids: list[UUID]) -> Mapping[UUID, Transfer]:
        if is_slow:
            time.sleep(1.0)
        return ledger(ids)

    waiter = SettlementWaiter(find, slots=4)
    assert waiter.wait(uuid4(), timeout_s=1.1).transfer is None
    is_slow = False
    transfer = committed(uuid4())
    ledger.ended[transfer.id] = transfer
    began_s = time.monotonic()
    assert waiter.wait(transfer.id, timeout_s=10).transfer == transfer
    assert time.monotonic() - began_s < 2.0, "it would be four times the slow query's time"
