"""Health over HTTP: correct and fast, whichever server is broken or hangs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from ledger.errors import Unreachable
from ledger.postgres.database import build_engine
from monitoring.health.checks import database_check
from monitoring.health.database_breaker import PROBE_TIMEOUT_S
from monitoring.health.report import Component
from monitoring.heartbeats import heartbeat_cache
from stack.servers.ports import LOOPBACK
from testing.http_client import Caller, serving
from testing.identity import KEY_PREFIX
from testing.price_setup import put_live_prices
from testing.servers.breakable import Breakable, breakable
from testing.servers.own_servers import own_servers
from testing.servers.shared import migrate
from testing.servers.throwaway import durable
from testing.worker_processes import eventually

pytestmark = pytest.mark.acceptance

# The promise is one second; the rest is for a machine that is busy with other tests.
WITHIN_S = 1.5
READY = (200, "this process takes requests")
PROGRAMS = ("money@test", "scans@test", "beat@test")


@dataclass(frozen=True)
class Scenario:
    """An API with three servers that only these tests use."""

    database: Breakable
    broker: Breakable
    cache: Breakable
    caller: Caller
    process: psutil.Process

    def health(self) -> tuple[int, str, dict[str, Any]]:
        """The status, the verdict, and the components; within the time."""
        answer = self._get("/health")
        document = answer.json()
        return answer.status_code, document["status"], document["components"]

    def ready(self) -> tuple[int, str]:
        answer = self._get("/health/ready")
        assert (answer.status_code == 503) == ("Retry-After" in answer.headers)
        return answer.status_code, answer.json()["detail"]

    def is_well(self) -> bool:
        for name in PROGRAMS:
            heartbeat_cache.beat(self.own_cache(), name, key_prefix=KEY_PREFIX)
        put_live_prices(self.cache.url)
        # Several times: each process of the API answers from readings of its own.
        return all(self.health()[:2] == (200, "ok") for _ in range(6))

    def own_cache(self) -> redis.Redis:
        return redis.Redis.from_url(self.cache.url)

    def threads(self) -> int:
        return sum(child.num_threads() for child in self.process.children(recursive=True))

    def _get(self, path: str) -> Any:
        begun = time.monotonic()
        answer = self.caller.get(path)
        assert time.monotonic() - begun < WITHIN_S, answer.text
        return answer


@pytest.fixture(scope="module")
def scenario(servers_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    servers = own_servers(servers_folder)
    log = servers.home.data / "log"
    with ExitStack() as stack:
        database, broker, cache = (
            stack.enter_context(breakable(server, log))
            for server in (durable(servers.postgres()), servers.broker(), servers.cache())
        )
        migrate(database.url)
        port = stack.enter_context(
            serving(
                log=tmp_path_factory.mktemp("api") / "gunicorn.log",
                DATABASE_URL=database.url,
                BROKER_URL=broker.url,
                CACHE_URL=cache.url,
            )
        )
        [process] = (
            each
            for each in psutil.Process().children()
            if f"PORT={port}" in (f"{k}={v}" for k, v in each.environ().items())
        )
        yield Scenario(database, broker, cache, Caller(port), process)


@pytest.fixture(autouse=True)
def all_is_well(scenario: Scenario) -> Iterator[None]:
    yield
    for server in (scenario.database, scenario.broker, scenario.cache):
        if server.runs:
            server.thaw()
        else:
            server.start()
    eventually(scenario.is_well)


def test_health_names_every_component_without_a_key(scenario: Scenario) -> None:
    eventually(scenario.is_well)
    _, _, components = scenario.health()
    assert list(components) == [*("database", "broker", "cache", "prices", "workers", "books")]
    assert {name for name, it in components.items() if it["status"] != "ok"} == set(), components
    assert components["workers"]["detail"] == "alive: 1 beat, 1 money, 1 scans"
    assert "of its memory is used" in components["broker"]["detail"]
    assert scenario.ready() == READY


def test_a_database_that_was_killed_is_degraded_while_the_broker_buffers(
    scenario: Scenario,
) -> None:
    scenario.database.kill()
    status, verdict, components = scenario.health()
    assert (status, verdict) == (200, "degraded")
    assert components["database"]["status"] == "down"
    assert "transfers are buffered in the broker" in components["database"]["detail"]
    assert components["broker"]["status"] == "ok"
    assert scenario.ready() == READY


def test_a_broker_that_was_killed_is_degraded_while_the_database_stores(scenario: Scenario) -> None:
    scenario.broker.kill()
    status, verdict, components = scenario.health()
    assert (status, verdict) == (200, "degraded")
    assert "wait in the database until the broker is back" in components["broker"]["detail"]
    assert scenario.ready() == READY


def test_it_is_down_when_it_can_neither_store_nor_buffer(scenario: Scenario) -> None:
    scenario.database.kill()
    scenario.broker.kill()
    status, verdict, components = scenario.health()
    assert (status, verdict) == (503, "down")
    assert "refused" in components["database"]["detail"]
    assert scenario.ready() == READY
    assert scenario.caller.get("/health/live").status_code == 200


def test_all_servers_frozen_at_once_delay_nobody_and_pile_up_nothing(
    scenario: Scenario,
) -> None:
    eventually(scenario.is_well)
    for server in (scenario.database, scenario.broker, scenario.cache):
        server.freeze()
    scenario.health()
    threads = scenario.threads()
    for _ in range(2):
        status, verdict, components = scenario.health()
        assert (status, verdict) == (503, "down")
        assert components["cache"]["status"] == "down"
        assert components["workers"]["status"] == "degraded"
        assert scenario.ready() == READY
        assert scenario.caller.get("/health/live").status_code == 200
    # Six components, two processes, and a few threads that gunicorn starts as it needs them.
    assert scenario.threads() <= threads + 20


def test_a_frozen_database_is_down_and_then_up_again(scenario: Scenario) -> None:
    eventually(scenario.is_well)
    scenario.database.freeze()
    for _ in range(3):
        assert scenario.ready() == READY
    assert scenario.health()[2]["database"]["status"] == "down"
    scenario.database.thaw()
    eventually(lambda: scenario.health()[2]["database"]["status"] == "ok")


def test_health_names_a_program_without_a_heartbeat(scenario: Scenario) -> None:
    eventually(scenario.is_well)
    scenario.own_cache().zincrby(f"{KEY_PREFIX}heartbeats", -20, "money@test")
    status, verdict, components = scenario.health()
    assert (status, verdict) == (200, "degraded")
    assert components["workers"]["detail"].startswith("money: no heartbeat for 2")


def test_a_broker_in_the_wrong_state_is_degraded_in_plain_words(scenario: Scenario) -> None:
    with redis.Redis.from_url(scenario.broker.url) as client:
        client.config_set("appendonly", "no")
        client.config_set("maxmemory-policy", "allkeys-lru")
    status, verdict, components = scenario.health()
    assert (status, verdict) == (200, "degraded")
    assert "stores nothing on disk" in components["broker"]["detail"]
    assert "set noeviction" in components["broker"]["detail"]
    scenario.broker.kill()  # what was set at run time ends with it


def test_one_redis_as_broker_and_cache_is_degraded_without_advice_for_a_cache(
    scenario: Scenario, tmp_path: Path
) -> None:
    url = scenario.broker.url
    other_name = url.replace(LOOPBACK, "localhost").removesuffix("/0") + "/3"
    servers = {"DATABASE_URL": scenario.database.url, "BROKER_URL": url, "CACHE_URL": other_name}
    with serving(log=tmp_path / "gunicorn.log", **servers) as port:
        answer = Caller(port).get("/health")
    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "degraded")
    broker, cache = (document["components"][name] for name in ("broker", "cache"))
    assert (broker["status"], cache["status"]) == ("degraded", "degraded")
    assert broker["detail"].startswith("is the same server as the cache")
    assert cache["detail"].startswith("is the same server as the broker")
    assert "allkeys" not in answer.text


def test_a_full_broker_and_a_full_cache_say_so(scenario: Scenario) -> None:
    for server in (scenario.broker, scenario.cache):
        fill(server)
    _, verdict, components = scenario.health()
    assert verdict == "degraded"
    assert "new transfers are refused until it is below 80 %" in components["broker"]["detail"]
    assert "evicts the least used keys" in components["cache"]["detail"]
    # Behind a balancer, requests still arrive, and get the answer that the contract has for them.
    assert scenario.ready() == READY
    for server in (scenario.broker, scenario.cache):
        empty(server)


def test_a_frozen_database_beside_a_full_broker_is_down(scenario: Scenario) -> None:
    fill(scenario.broker)
    scenario.database.freeze()
    status, verdict, components = scenario.health()
    assert (status, verdict) == (503, "down")
    assert "the broker cannot store transfers either" in components["database"]["detail"]
    assert components["broker"]["status"] == "degraded"
    assert set(components["broker"]) == {"status", "detail"}
    assert scenario.ready() == READY
    empty(scenario.broker)


def test_a_broker_that_is_a_copy_of_another_takes_nothing(scenario: Scenario) -> None:
    with redis.Redis.from_url(scenario.broker.url) as client:
        client.replicaof(LOOPBACK, 1)  # nothing listens there: it waits for its primary
    _, verdict, components = scenario.health()
    assert verdict == "degraded"
    assert "is a read-only replica" in components["broker"]["detail"]
    scenario.database.kill()
    assert scenario.health()[:2] == (503, "down")
    assert scenario.ready() == READY
    scenario.broker.kill()  # what was set at run time ends with it


def test_a_process_that_is_stopping_is_not_ready(scenario: Scenario, tmp_path: Path) -> None:
    urls = {
        "DATABASE_URL": scenario.database.url,
        "BROKER_URL": scenario.broker.url,
        "CACHE_URL": scenario.cache.url,
    }
    before = set(psutil.Process().children())
    with serving(log=tmp_path / "gunicorn.log", API_PROCESSES="1", **urls) as port:
        [server] = set(psutil.Process().children()) - before
        [worker] = server.children()
        with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
            connection.sendall(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n")
            time.sleep(0.5)  # it has arrived: what has begun is answered
            worker.terminate()
            time.sleep(0.5)
            connection.sendall(b"\r\n")
            answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"this process is stopping" in answer


def fill(server: Breakable) -> None:
    """Leave a Redis little memory, and use it up."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", "8mb")
        with suppress(redis.exceptions.OutOfMemoryError):  # the broker refuses when full
            for number in range(200):
                client.set(f"filling {number}", b"x" * 64_000)


def empty(server: Breakable) -> None:
    """Undo `fill`: what was set at run time ends with the process."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    server.kill()


def test_a_check_of_a_frozen_database_ends_by_itself(scenario: Scenario) -> None:
    """Otherwise its one thread would hang although another host may have taken over."""
    engine = build_engine(
        scenario.database.url,
        application_name="test",
        pool_size=1,
        statement_timeout_s=PROBE_TIMEOUT_S,
    )
    check = database_check(engine)
    assert check() == Component("ok", "answers")
    scenario.database.freeze()
    with ThreadPoolExecutor(1) as executor:
        asked = executor.submit(check)
        assert isinstance(asked.exception(20), Unreachable)
    scenario.database.thaw()
    assert check() == Component("ok", "answers")
    engine.dispose()


def test_a_broker_that_says_nothing_to_amqp_is_down_in_time(
    scenario: Scenario, tmp_path: Path
) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:  # takes connections, never answers
        url = f"amqp://guest:hunter2@{LOOPBACK}:{silent.getsockname()[1]}//"
        environment = {"DATABASE_URL": scenario.database.url, "CACHE_URL": scenario.cache.url}
        with serving(log=tmp_path / "gunicorn.log", BROKER_URL=url, **environment) as port:
            caller = Caller(port)
            for _ in range(2):
                begun = time.monotonic()
                answer = caller.get("/health")
                assert time.monotonic() - begun < WITHIN_S
                assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
                assert answer.json()["components"]["broker"]["status"] == "down"
                assert "hunter2" not in answer.text
