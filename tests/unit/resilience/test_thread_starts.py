"""Thread starts: every place that starts a thread survives a lack of threads.

What asks for the thread goes on without it, and the next call tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from celery import Celery

from api.rate_limits.counters import CacheCounters, Counters, MemoryCounters
from api.transfers.settlement_wait import SettlementWaiter
from monitoring.health.broker_probe import BrokerReading
from monitoring.health.database_breaker import DatabaseBreaker
from monitoring.health.report import Component, Health
from monitoring.metrics.port import serve
from prices.binance.http import BoundedGetter, NoAnswerError
from prices.quotes import StampedPrice
from prices.stores.guarded import GuardedStore
from stack.servers.ports import free_port
from tasks.broker.backpressure import BackpressureGauge
from tasks.broker.kick import Kicker
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually
from tests.unit.api.test_settlement_wait import FakeLedger, committed

Case = tuple[Callable[[], object], Callable[[], bool]]
"""A call that starts a thread and must not fail without one; a check that the thread worked."""


def kicker() -> Case:
    published = Event()
    kicker = Kicker(Celery(), lambda _: published.set())
    return kicker.kick, published.is_set


def broker_watch() -> Case:
    looked = Event()

    class Probe:
        def read(self, *, was_full: bool) -> BrokerReading:
            looked.set()
            return BrokerReading(is_full=was_full, memory_share=0.1, findings=[])

        def close(self) -> None:
            pass

    return BackpressureGauge(Probe()).latest, looked.is_set


def database_watch_asked() -> Case:
    probed = Event()
    return DatabaseBreaker(probed.set).is_up, probed.is_set


def database_watch_suspecting() -> Case:
    probed = Event()
    return DatabaseBreaker(probed.set).suspect, probed.is_set


def rate_counters() -> Case:
    class Cache(CacheCounters):
        tried = Event()

        def try_out(self) -> None:
            self.tried.set()

    cache = Cache("redis://127.0.0.1:1/0", key_prefix="")  # where nothing listens
    counters = Counters(cache, MemoryCounters(processes=1), try_again_every_s=0.01)
    return partial(counters.hit, "key", 60), cache.tried.is_set


def waiting_room() -> Case:
    ledger, transfer_id = FakeLedger(), uuid4()
    ledger.ended[transfer_id] = committed(transfer_id)
    waiter = SettlementWaiter(ledger, slots=1)
    return partial(waiter.wait, transfer_id, timeout_s=2), lambda: bool(ledger.asked)


def health_check() -> Case:
    checked = Event()

    def check() -> Component:
        checked.set()
        return Component("ok", "")

    return Health({"database": check, "broker": check}).report, checked.is_set


def price_source() -> Case:
    asked = Event()

    def ask() -> dict[str, StampedPrice]:
        asked.set()
        return {"BTCUSDT": StampedPrice(Decimal(1), datetime.now(UTC), 0.0)}

    return GuardedStore("test", ask, patience_s=1, fresh_for_s=0).entries, asked.is_set


def metrics_port() -> Case:
    port = free_port()

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return bool(answer.status == 200)
        except URLError:
            return False

    return partial(serve, Path("/nonexistent"), port), answers


CASES = [
    kicker,
    broker_watch,
    database_watch_asked,
    database_watch_suspecting,
    rate_counters,
    waiting_room,
    health_check,
    price_source,
    metrics_port,
]


@pytest.mark.parametrize("case", CASES)
def test_without_a_thread_nothing_fails_and_the_next_call_starts_it(
    case: Callable[[], Case],
) -> None:
    call, has_worked = case()
    with no_new_threads():
        for _ in range(3):
            call()
        assert not has_worked()

    def works_after_a_call() -> bool:
        call()
        return has_worked()

    eventually(works_after_a_call)


def test_a_waiter_without_a_thread_returns_at_once_and_frees_its_slot() -> None:
    ledger, transfer_id = FakeLedger(), uuid4()
    ledger.ended[transfer_id] = committed(transfer_id)
    waiter = SettlementWaiter(ledger, slots=1)
    with no_new_threads():
        for _ in range(3):
            assert not waiter.wait(transfer_id, timeout_s=10).applied
    waited = waiter.wait(transfer_id, timeout_s=10)
    assert waited.transfer == ledger.ended[transfer_id]


def test_a_request_to_binance_without_a_thread_counts_as_no_answer(
    web_server: str,
) -> None:
    getter = BoundedGetter()
    with no_new_threads(), pytest.raises(NoAnswerError, match="no thread"):
        getter.get(web_server, {}, within_s=1, max_bytes=100)
    assert getter.get(web_server, {}, within_s=5, max_bytes=100).body == b"here"


@pytest.fixture
def web_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack:
        server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield f"http://127.0.0.1:{server.server_port}/"
