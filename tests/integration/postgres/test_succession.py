"""Succession: a primary that was replaced and still lives is not written to.

The first primary lives on beside its promoted standby, as after a failover that could not reach it.
Two URLs that differ in a parameter stand for two processes that know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from ledger.buffer.seal import Seal
from ledger.errors import Replaced
from ledger.postgres.database import autocommit, build_engine, probe
from ledger.postgres.succession import Primary, Succession, succession_of
from monitoring.health.checks import database_check
from monitoring.health.timeline_memory import TimelineMemory
from stack.servers.postgres import Postgres
from testing.forks import holds_in_child
from testing.servers.breakable import breakable
from testing.servers.own_servers import own_servers
from testing.servers.service_name import service_name
from testing.servers.shared import migrate
from testing.servers.standby import Standby, read_write_url, run, standby_of
from testing.worker_processes import eventually

SEAL = Seal(["0123456789abcdef0123456789abcdef"], installation_id="test", purpose="test")


@dataclass(frozen=True)
class Split:
    """Two servers that both take writes: the old primary, and its standby, which was promoted."""

    old: Postgres
    new: Standby

    @property
    def url(self) -> str:
        return read_write_url(self.old, self.new)


@pytest.fixture(scope="module")
def split(servers_folder: Path) -> Iterator[Split]:
    servers = own_servers(servers_folder)
    old = servers.postgres()
    logs = servers.home.data
    with ExitStack() as stack:
        stack.enter_context(breakable(old, logs / "old.log"))
        migrate(old.url)
        new = standby_of(old)
        stack.enter_context(breakable(new, logs / "new.log"))
        eventually(lambda: run(old, "SELECT state FROM pg_stat_replication") == "streaming")
        new.promote()
        yield Split(old, new)


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.dispose()


@pytest.fixture
def memory(cache_url: str) -> Iterator[TimelineMemory]:
    redis.Redis.from_url(cache_url).flushall()
    memory = remembering(cache_url)
    yield memory
    memory.close()


def remembering(cache_url: str) -> TimelineMemory:
    return TimelineMemory([cache_url], key_prefix="truepenny:test:", seal=SEAL)


def process_on(
    url: str, name: str, engines: list[Engine], *, pool_size: int = 20
) -> tuple[str, Engine]:
    """Return the URL and the engine of a process of its own."""
    own = f"{url}{'&' if '?' in url else '?'}fallback_application_name={name}"
    engines.append(build_engine(own, application_name="test", pool_size=pool_size))
    return own, engines[-1]


def port_in_use(engine: Engine) -> int:
    with autocommit(engine) as connection:
        return int(connection.execute(text("SELECT inet_server_port()")).scalar_one())


def test_a_process_that_starts_after_the_failover_uses_the_promoted_server(
    split: Split, engines: list[Engine]
) -> None:
    """The old primary comes first in the URL, and answers."""
    _, engine = process_on(split.url, "starts-late", engines)
    assert port_in_use(engine) == split.new.port
    probe(engine)


def test_a_process_on_the_old_primary_finds_the_promoted_one_by_asking_the_other_hosts(
    split: Split, engines: list[Engine]
) -> None:
    """Nobody has told it: when it began, the other host did not answer."""
    own, engine = process_on(split.url, "asks", engines, pool_size=1)
    succession_of(own).note_survey()
    assert port_in_use(engine) == split.old.port
    _, probing = process_on(split.url, "asks", engines, pool_size=0)
    with pytest.raises(Replaced):
        probe(probing, compare=lambda _: None)
    probe(probing, compare=lambda _: None)
    assert port_in_use(engine) == split.new.port, "the open connection was replaced"


def test_behind_one_name_the_old_primary_counts_as_away_when_the_new_one_was_seen(
    split: Split, engines: list[Engine]
) -> None:
    with service_name(split.old.port) as service:
        url = split.old.url.replace(f":{split.old.port}/", f":{service.port}/")
        _, pool = process_on(url, "one-name", engines, pool_size=1)
        _, probing = process_on(url, "one-name", engines, pool_size=0)
        assert port_in_use(pool) == split.old.port
        service.move_to(split.new.port)
        probe(probing)
        assert port_in_use(pool) == split.new.port
        service.move_to(split.old.port)
        with pytest.raises(Replaced):
            probe(probing)
        pool.dispose()
        with pytest.raises(Replaced):
            port_in_use(pool)
        found = database_check(pool)()
        assert (found.status, found.can_store) == ("down", False)
        assert found.detail.startswith("answers, but is not used: a failover has replaced")
        service.move_to(split.new.port)
        probe(probing)
        assert port_in_use(pool) == split.new.port


def test_a_process_that_knows_only_the_old_primary_learns_of_the_new_one_from_the_cache(
    split: Split, engines: list[Engine], memory: TimelineMemory
) -> None:
    _, told = process_on(split.new.url, "tells", engines)
    probe(told, compare=memory.compare)
    _, engine = process_on(split.old.url, "is-told", engines)
    with pytest.raises(Replaced):
        probe(engine, compare=memory.compare)
    with pytest.raises(Replaced):
        port_in_use(engine)


def test_an_emptied_memory_is_written_again_by_whoever_knows(
    split: Split,
    engines: list[Engine],
    memory: TimelineMemory,
    cache_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own, told = process_on(split.new.url, "remembers", engines)
    probe(told, compare=memory.compare)
    redis.Redis.from_url(cache_url).flushall()
    unaware = Succession()
    old = Primary(newest(own).system, newest(own).timeline - 1, newest(own).accepted_at_us)
    unaware.learn(old)
    remembering(cache_url).compare(unaware)  # writes what it knows, which is too old
    assert not unaware.has_replaced(old)
    probe(told, compare=memory.compare)
    remembering(cache_url).compare(unaware)
    assert unaware.has_replaced(old)
    redis.Redis.from_url(cache_url).flushall()
    probe(told, compare=memory.compare)
    assert "database_timeline_forgotten" in caplog.messages


def test_a_forged_memory_has_no_server_refused_and_is_replaced(
    split: Split,
    engines: list[Engine],
    memory: TimelineMemory,
    cache_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own, engine = process_on(split.new.url, "is-lied-to", engines)
    probe(engine, compare=memory.compare)
    cache = redis.Redis.from_url(cache_url)
    name, genuine = kept_in(cache)
    forger = Seal(["another-secret-0123456789abcdef-0"], installation_id="test", purpose="test")
    value = f"{newest(own).accepted_at_us} {newest(own).timeline + 1}".encode()
    mark = forger.mark(name + b"\0" + value).encode()
    for forged in (mark + value, b"0" * 10_000_000, b"\xff\xfe", genuine[:-1] + b"9"):
        cache.set(name, forged)
        probe(engine, compare=memory.compare)
        assert cache.get(name) == genuine
        assert caplog.messages.count("database_timeline_forged") == 1
        caplog.clear()
    cache.delete(name)
    cache.lpush(name, "not even a string")
    probe(engine, compare=memory.compare)
    assert port_in_use(engine) == split.new.port


def test_an_older_memory_that_somebody_restores_lets_no_old_primary_in(
    split: Split, engines: list[Engine], memory: TimelineMemory, cache_url: str
) -> None:
    cache = redis.Redis.from_url(cache_url)
    own, engine = process_on(split.url, "meets-both", engines)
    before = Succession()
    probe(engine)
    now = newest(own)
    before.learn(Primary(now.system, now.timeline - 1, now.accepted_at_us))
    memory.compare(before)
    name, older = kept_in(cache)
    probe(engine, compare=memory.compare)
    newer = cache.get(name)
    assert newer != older
    cache.set(name, older)
    probe(engine, compare=memory.compare)
    assert cache.get(name) == newer


def test_a_cache_that_takes_no_writes_is_not_said_to_have_forgotten(
    split: Split, engines: list[Engine], cache_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, engine = process_on(split.new.url, "may-only-read", engines)
    cache = redis.Redis.from_url(cache_url)
    cache.flushall()
    cache.acl_setuser(
        "reader", enabled=True, passwords=["+secret"], categories=["+@read"], keys=["*"]
    )
    address = make_url(cache_url).set(username="reader", password="secret")
    memory = remembering(address.render_as_string(hide_password=False))
    try:
        for _ in range(3):
            probe(engine, compare=memory.compare)
    finally:
        memory.close()
        cache.acl_deluser("reader")
    assert "database_timeline_forgotten" not in caplog.messages


def test_a_cache_that_is_away_changes_nothing(split: Split, engines: list[Engine]) -> None:
    _, engine = process_on(split.url, "no-cache", engines)
    probe(engine, compare=remembering("redis://127.0.0.1:1/0").compare)


def test_a_process_and_the_children_it_forked_know_the_same() -> None:
    succession = Succession()
    old = Primary(7, 1)
    succession.learn(old)

    def learn() -> bool:
        succession.learn(Primary(7, 2), host=1)
        return succession.host == 1

    assert holds_in_child(learn)
    assert succession.has_replaced(old)
    assert holds_in_child(lambda: succession.has_replaced(old))


def kept_in(cache: redis.Redis) -> tuple[bytes, bytes]:
    """Return the name and the content of what is remembered."""
    names: Any = cache.keys("*timeline*")
    [name] = names
    content: Any = cache.get(name)
    return name, content


def newest(url: str) -> Primary:
    found = succession_of(url).newest
    assert found is not None
    return found
