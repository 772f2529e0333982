"""Server watch: reports changes of a real broker and cache that break, each once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from monitoring.health.server_watch import OVER_AFTER_CHECKS, ServerWatch
from stack.servers.ports import LOOPBACK
from testing.servers.own_servers import OwnRedis, own_redis
from testing.worker_processes import eventually


@dataclass
class Watched:
    """Two servers, and what the watch logs about them."""

    servers: OwnRedis
    file: Path
    caplog: pytest.LogCaptureFixture

    def look(self, times: int = 1) -> list[tuple[str, str]]:
        """Run the watch as the task does, with only its file as memory. Returns: what it logged."""
        self.caplog.clear()
        for _ in range(times):
            urls = {"broker_url": self.broker.url, "cache_url": self.cache.url}
            ServerWatch(self.file).check(**urls)
        # Threads of earlier tests may log at the same time.
        own = (
            each for each in self.caplog.records if each.name == "monitoring.health.server_watch"
        )
        return [logged(record) for record in own]

    def until_over(self) -> list[tuple[str, str]]:
        return self.look(OVER_AFTER_CHECKS)

    @property
    def broker(self) -> Any:
        return self.servers.broker

    @property
    def cache(self) -> Any:
        return self.servers.cache


def logged(record: Any) -> tuple[str, str]:
    fields = record.truepenny_fields
    return record.getMessage(), f"{fields.get('server')}: {fields.get('finding')}"


def problems(*what: str) -> list[tuple[str, str]]:
    return [("server_amiss", each) for each in what]


def resolved(*what: str) -> list[tuple[str, str]]:
    return [("server_well_again", each) for each in what]


def client(server: Any) -> redis.Redis:
    return redis.Redis.from_url(server.url)


@pytest.fixture(scope="module")
def servers(servers_folder: Path) -> Iterator[OwnRedis]:
    with own_redis(servers_folder) as servers:
        yield servers


@pytest.fixture
def watched(
    servers: OwnRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Watched]:
    caplog.set_level("INFO", logger="monitoring.health.server_watch")
    watched = Watched(servers, tmp_path / "made when needed" / "servers.json", caplog)
    assert watched.look() == []
    yield watched
    for server in (servers.broker, servers.cache):
        if not server.runs:
            server.start()


def test_a_wrong_setting_is_logged_once_and_so_is_its_end(watched: Watched) -> None:
    with client(watched.broker) as broker, client(watched.cache) as cache:
        broker.config_set("maxmemory-policy", "volatile-lru")
        broker.config_set("appendonly", "no")
        cache.config_set("maxmemory", "0")
        assert watched.look() == problems("broker: no_aof", "broker: policy", "cache: no_limit")
        assert watched.look(4) == []
        broker.config_set("maxmemory-policy", "noeviction")
        broker.config_set("appendonly", "yes")
        cache.config_set("maxmemory", "64mb")
        assert watched.look(OVER_AFTER_CHECKS - 1) == []
        over = resolved("broker: no_aof", "broker: policy", "cache: no_limit")
        assert sorted(watched.look()) == over
        assert watched.look(2) == []


def test_a_value_that_moves_around_its_threshold_is_logged_once(watched: Watched) -> None:
    with client(watched.broker) as broker:
        for policy in ("allkeys-lru", "noeviction", "allkeys-lru", "noeviction", "allkeys-lru"):
            broker.config_set("maxmemory-policy", policy)
            first = policy == "allkeys-lru" and not watched.file.read_text().count("policy")
            assert watched.look() == (problems("broker: policy") if first else [])
        broker.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize("name", ["broker", "cache"])
def test_a_server_that_was_killed_is_away_until_it_is_back(watched: Watched, name: str) -> None:
    server = getattr(watched.servers, name)
    server.kill()
    assert watched.look() == problems(f"{name}: away")
    assert watched.look(2) == []
    server.start()
    assert watched.until_over() == resolved(f"{name}: away")


def test_frozen_servers_delay_the_watch_only_briefly(watched: Watched) -> None:
    watched.broker.freeze()
    watched.cache.freeze()
    begun = time.monotonic()
    assert watched.look() == problems("broker: away", "cache: away")
    assert time.monotonic() - begun < 8
    watched.broker.thaw()
    watched.cache.thaw()
    assert sorted(watched.until_over()) == resolved("broker: away", "cache: away")


def fill(server: Any) -> None:
    with client(server) as connection:
        connection.config_set("maxmemory", "8mb")
        try:
            for number in range(200):
                connection.set(f"filling {number}", b"x" * 64_000)
        except redis.exceptions.OutOfMemoryError:
            return


def test_full_servers_and_evictions_of_a_cache_are_logged(watched: Watched) -> None:
    fill(watched.broker)
    fill(watched.cache)
    assert watched.look() == problems("broker: memory", "cache: memory", "cache: evicted")
    for server in (watched.broker, watched.cache):
        with client(server) as connection:
            connection.flushall()
            connection.config_set("maxmemory", "64mb")
    over = resolved("broker: memory", "cache: evicted", "cache: memory")
    assert sorted(watched.until_over()) == over


def test_refused_connections_are_logged(watched: Watched) -> None:
    with client(watched.cache) as cache, ExitStack() as stack:
        before = int(cache.config_get("maxclients")["maxclients"])
        cache.config_set("maxclients", 2)
        second = stack.enter_context(client(watched.cache))
        second.ping()
        with client(watched.cache) as third, pytest.raises(redis.RedisError):
            third.ping()
        cache.config_set("maxclients", before)
    assert watched.look() == problems("cache: rejected")
    assert watched.until_over() == resolved("cache: rejected")


def test_an_append_only_file_that_cannot_be_rewritten_is_logged(
    watched: Watched, servers_folder: Path
) -> None:
    with client(watched.broker) as broker:
        folder = Path(broker.config_get("dir")["dir"])
        assert servers_folder in folder.parents
        folders = (folder, folder / "appendonlydir")

        def rewritten(status: str) -> Callable[[], bool]:
            def holds() -> bool:
                info = broker.info("persistence")
                under_way = info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
                return not under_way and info["aof_last_bgrewrite_status"] == status

            return holds

        for each in folders:
            each.chmod(0o500)
        try:
            with pytest.raises(redis.ResponseError):
                broker.bgrewriteaof()
        finally:
            for each in folders:
                each.chmod(0o700)
        eventually(rewritten("err"))
        assert watched.look() == problems("broker: aof_rewrite")
        broker.bgrewriteaof()
        eventually(rewritten("ok"))
        assert watched.until_over() == resolved("broker: aof_rewrite")


def test_one_server_in_both_roles_is_logged_once_without_advice_for_a_cache(
    watched: Watched,
) -> None:
    other_name = watched.broker.url.replace(LOOPBACK, "localhost").removesuffix("/0") + "/3"
    for look in range(3):
        watched.caplog.clear()
        found = ServerWatch(watched.file).check(broker_url=watched.broker.url, cache_url=other_name)
        assert [problem.partition(",")[0] for problem in found] == [
            "broker is the same server as the cache"
        ]
        logs = [logged(record) for record in watched.caplog.records]
        assert logs == (problems("broker: shared") if look == 0 else [])
    assert watched.until_over() == resolved("broker: shared")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"broker": 7}', '{"broker": {"x": 1}}'])
def test_an_unreadable_state_file_is_replaced(watched: Watched, text: str) -> None:
    watched.file.write_text(text)
    assert [event for event, _ in watched.look()] == ["watch_forgot"]
    assert watched.look() == []
