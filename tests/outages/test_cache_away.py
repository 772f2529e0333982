"""Cache outages: transfers settle normally while the cache is killed, frozen or full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from stack.servers.own import Servers
from testing.installation import Installation, running_installation
from testing.servers.breakable import Breakable, breakable
from testing.servers.brokers import RedisBroker
from testing.servers.shared import migrate

pytestmark = pytest.mark.chaos


@dataclass
class Scenario:
    """An installation, and the cache that only it uses."""

    installation: Installation
    cache: Breakable


@pytest.fixture(scope="module")
def scenario(own_servers: tuple[Servers, Path], redis_broker: RedisBroker) -> Iterator[Scenario]:
    servers, folder = own_servers
    redis_broker.empty()
    postgres = servers.postgres()
    with (
        breakable(postgres, folder / "postgres.log") as database,
        breakable(servers.cache(), folder / "cache.log") as cache,
    ):
        migrate(postgres.url)
        with running_installation(
            database, postgres.url, redis_broker, cache.url, folder
        ) as everything:
            yield Scenario(everything, cache)


@contextmanager
def killed(cache: Breakable) -> Iterator[None]:
    cache.kill()
    try:
        yield
    finally:
        cache.start()


@contextmanager
def full(cache: Breakable) -> Iterator[None]:
    """Fill the cache completely and forbid it to evict: the worst possible configuration."""
    with redis.Redis.from_url(cache.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "3mb")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            _fill(client)
        try:
            yield
        finally:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", "64mb")


def _fill(client: redis.Redis) -> None:
    for number in range(10_000):
        client.set(f"filling {number}", bytes(10_000))


@pytest.mark.parametrize("broken", [killed, Breakable.frozen, full])
def test_transfers_settle_and_prices_are_served_without_the_cache(
    scenario: Scenario, broken: Callable[[Breakable], AbstractContextManager[None]]
) -> None:
    installation = scenario.installation
    with broken(scenario.cache):
        answers = [
            installation.client.submit(installation.body(), prefer="wait=15") for _ in range(10)
        ]
        assert [answer.status_code for answer in answers] == [201] * 10
        prices = installation.client.get("/v1/prices")
        assert prices.status_code == 200
        assert {price["source"] for price in prices.json()["data"]} <= {"stale", "static"}
        health = installation.client.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
    installation.bank.audit()
