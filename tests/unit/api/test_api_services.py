"""API services without a database: key lookup, asset scales, and waiting for settlement."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from api.auth.api_keys import KNOWN_FOR_S, UNKNOWN_FOR_S, KeyRing
from api.transfers.asset_scales import LOAD_AGAIN_AFTER_S, AssetScales
from api.transfers.settlement_wait import SettlementWaiter
from ledger.clients import Client
from ledger.errors import InvalidField, Unavailable
from ledger.transfers import Transfer
from testing.worker_processes import eventually
from tests.unit.api.test_api_application import NOTHING_KNOWN

ALICE = Client(uuid4(), "alice", "client", None)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Register:
    """Clients by key, and a record of the keys looked up."""

    def __init__(self, **known: Client) -> None:
        self.known = known
        self.asked: list[str] = []
        self.away = False

    def __call__(self, api_key: str) -> Client | None:
        self.asked.append(api_key)
        if self.away:
            raise Unavailable
        return self.known.get(api_key)


def test_a_key_is_looked_up_once_and_again_when_its_time_is_over() -> None:
    clock, register = Clock(), Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    assert keys.client_of("good") == keys.client_of("good") == ALICE
    assert register.asked == ["good"]
    clock.now += KNOWN_FOR_S + 0.1
    del register.known["good"]
    assert keys.client_of("good") is None


def test_an_unknown_key_is_remembered_for_a_shorter_time() -> None:
    clock, register = Clock(), Register()
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    assert keys.client_of("new") is keys.client_of("new") is None
    assert register.asked == ["new"]
    register.known["new"] = ALICE
    clock.now += UNKNOWN_FOR_S + 0.1
    assert keys.client_of("new") == ALICE


def test_a_flood_of_unknown_keys_does_not_push_out_the_good_ones() -> None:
    register = Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=Clock())
    keys.client_of("good")
    for number in range(20_000):
        keys.client_of(f"bad {number}")
    keys.client_of("good")
    assert register.asked.count("good") == 1


def test_a_known_client_is_accepted_while_the_database_is_away() -> None:
    clock, register = Clock(), Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    keys.client_of("good")
    clock.now += KNOWN_FOR_S + 0.1
    register.away = True
    assert keys.client_of("good") == ALICE
    with pytest.raises(Unavailable):
        keys.client_of("never seen")


def test_a_revoked_client_is_not_accepted_during_an_outage() -> None:
    clock, register = Clock(), Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    keys.client_of("good")
    clock.now += KNOWN_FOR_S + 0.1
    del register.known["good"]
    assert keys.client_of("good") is None
    clock.now += UNKNOWN_FOR_S + 0.1
    register.away = True
    with pytest.raises(Unavailable):
        keys.client_of("good")


def test_a_new_asset_is_found_and_an_unknown_one_looked_up_once_a_second() -> None:
    clock, loads = Clock(), [{"USD": 2}, {"USD": 2}, {"USD": 2, "CHF": 2}]
    scales = AssetScales(lambda: loads.pop(0), NOTHING_KNOWN, clock=clock)
    assert scales.of("USD") == 2
    for _ in range(5):
        with pytest.raises(InvalidField):
            scales.of("XXX")
    assert len(loads) == 2
    clock.now += LOAD_AGAIN_AFTER_S
    with pytest.raises(InvalidField):
        scales.of("CHF")
    clock.now += LOAD_AGAIN_AFTER_S
    assert scales.of("CHF") == 2


def test_a_database_that_fails_is_not_asked_for_each_item_of_a_batch() -> None:
    asked = []

    def load() -> dict[str, int]:
        asked.append(1)
        raise Unavailable

    scales = AssetScales(load, NOTHING_KNOWN, clock=Clock())
    for _ in range(5_000):
        with pytest.raises(Unavailable):
            scales.of("USD")
    assert len(asked) == 1


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
