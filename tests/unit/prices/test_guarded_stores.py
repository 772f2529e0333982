"""Guarded stores: reads of a price store are shared, bounded in time, and paused on failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from monitoring.logs import own_fields
from prices.quotes import StampedPrice
from prices.stores.guarded import COOLDOWN_S, GuardedStore
from testing.worker_processes import eventually

ENTRY = StampedPrice(Decimal(1), datetime.now(UTC), 2.0)
PATIENCE_S = 0.3


class Store:
    """A store that answers, fails or hangs, and counts its reads."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.works = threading.Event()
        self.works.set()

    def __call__(self) -> Mapping[str, StampedPrice]:
        self.asked += 1
        self.works.wait(30)
        if self.away:
            raise ConnectionError
        return {"BTCUSDT": ENTRY}


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    yield store
    store.works.set()


def source(
    ask: Callable[[], Mapping[str, StampedPrice]], *, fresh_for_s: float = 0.0
) -> GuardedStore:
    return GuardedStore("test", ask, patience_s=PATIENCE_S, fresh_for_s=fresh_for_s)


def test_an_answer_is_reused_and_its_age_grows(store: Store) -> None:
    read = source(store, fresh_for_s=60)
    first = read.entries()["BTCUSDT"]
    time.sleep(0.02)
    second = read.entries()["BTCUSDT"]
    assert store.asked == 1
    assert 2.0 <= first.age_s < second.age_s - 0.01


def test_a_store_that_fails_is_left_alone_for_a_while_and_asked_again_then(store: Store) -> None:
    read = source(store)
    store.away = True
    for _ in range(50):
        assert read.entries() == {}
    assert store.asked == 1
    store.away = False
    time.sleep(COOLDOWN_S)
    assert list(read.entries()) == ["BTCUSDT"]
    assert store.asked == 2


def test_a_store_that_hangs_is_waited_for_once_and_read_once(store: Store) -> None:
    read = source(store)
    store.works.clear()
    begun_s = time.monotonic()
    assert read.entries() == {}
    assert time.monotonic() - begun_s >= PATIENCE_S * 0.9
    begun_s = time.monotonic()
    for _ in range(50):
        assert read.entries() == {}
    assert time.monotonic() - begun_s < 50 * PATIENCE_S / 2
    assert store.asked == 1


def test_a_store_that_recovers_is_used_again(store: Store) -> None:
    read = source(store, fresh_for_s=60)
    store.works.clear()
    read.entries()
    store.works.set()
    eventually(read.entries, within_s=5)
    assert store.asked <= 2


def test_concurrent_readers_share_one_read(store: Store) -> None:
    read = GuardedStore("test", store, patience_s=10, fresh_for_s=60)
    store.works.clear()
    found: list[Mapping[str, StampedPrice]] = []
    threads = [threading.Thread(target=lambda: found.append(read.entries())) for _ in range(20)]
    for thread in threads:
        thread.start()
    store.works.set()
    for thread in threads:
        thread.join()
    assert [list(entries) for entries in found] == [["BTCUSDT"]] * 20
    assert store.asked == 1


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    read = source(store)
    store.away = True
    for _ in range(3):
        read.entries()
    time.sleep(COOLDOWN_S)
    store.works.clear()  # now it hangs, which is the same outage
    read.entries()
    store.away = False
    store.works.set()
    eventually(read.entries, within_s=5)
    logged = [(record.getMessage(), own_fields(record)) for record in caplog.records]
    assert logged == [
        ("price_source_away", {"source": "test", "error": "ConnectionError"}),
        ("price_source_back", {"source": "test"}),
    ]
