"""Half-open connections to Redis: publications and scans end in time, with one error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Timer

import pytest
from celery import Celery
from kombu import pools
from kombu.exceptions import OperationalError

from settings import Settings
from tasks import chain
from tasks.broker import queues
from tasks.engine import forget_engine
from tasks.recovery import recover
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.brokers import RedisBroker
from testing.storm.installation import Gateway, gateway
from workers.celery_app import BROKER_TIMEOUT_S, make_celery

ENDS_WITHIN_S = 5 * BROKER_TIMEOUT_S


@pytest.fixture
def proxy(redis_broker: RedisBroker) -> Iterator[Gateway]:
    redis_broker.empty()
    port = int(redis_broker.url.rpartition(":")[2].partition("/")[0])
    with gateway(port) as before:
        yield before


@pytest.fixture
def app(
    redis_broker: RedisBroker,
    proxy: Gateway,
    own_database_url: str,
    cache_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Celery]:
    """Make this process a worker whose broker is behind the proxy."""
    host, _, rest = redis_broker.url.rpartition(":")
    urls = {
        "DATABASE_URL": own_database_url,
        "BROKER_URL": f"{host}:{proxy.port}/{rest.partition('/')[2]}",
        "CACHE_URL": cache_url,
    }
    for name, value in {**IDENTITY, **urls, "STUCK_AFTER_S": "0.01"}.items():
        monkeypatch.setenv(name, value)
    forget_engine()
    pools.reset()
    time.sleep(0.5)  # until the proxy listens
    yield make_celery(Settings.from_environment())
    pools.reset()
    forget_engine()


def test_a_connection_that_breaks_while_a_queue_is_declared_loses_no_publication(
    app: Celery, proxy: Gateway, redis_broker: RedisBroker
) -> None:
    queues.count_waiting(app, queues.SCANS)  # connects, and declares another queue
    proxy.mode("half-open")
    ending = Timer(BROKER_TIMEOUT_S / 2, proxy.mode, ("pass",))
    ending.start()
    chain.kick()
    ending.join()
    assert redis_broker.waiting(queues.RESERVE) == 1


@pytest.mark.parametrize("mode", ["half-open", "deaf"])
def test_a_count_and_a_publication_end_with_the_same_error(
    app: Celery, proxy: Gateway, mode: str
) -> None:
    queues.count_waiting(app, queues.RESERVE)
    chain.kick()
    proxy.mode(mode)
    for _ in range(3):
        for ask in (lambda: queues.count_waiting(app, queues.RESERVE), chain.kick):
            began_s = time.monotonic()
            with pytest.raises(OperationalError):
                ask()
            assert time.monotonic() - began_s < ENDS_WITHIN_S
    proxy.mode("pass")
    chain.kick()
    assert queues.count_waiting(app, queues.RESERVE) >= 2


@pytest.mark.usefixtures("app")
def test_a_recovery_scan_that_the_broker_interrupts_ends_and_the_next_one_drives_all(
    bank: Bank, proxy: Gateway, redis_broker: RedisBroker
) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    for _ in range(3):
        bank.reach("reserved", bank.request(source, destination, 1))
    recover.apply(throw=True)
    redis_broker.purge(queues.ADVANCE)
    proxy.mode("half-open")
    began_s = time.monotonic()
    recover.apply(throw=True)
    assert time.monotonic() - began_s < ENDS_WITHIN_S
    proxy.mode("pass")
    recover.apply(throw=True)
    assert redis_broker.waiting(queues.ADVANCE) >= 1
