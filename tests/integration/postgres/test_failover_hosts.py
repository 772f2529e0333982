"""Failover hosts: connections find the server that takes writes, in bounded time."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest
from sqlalchemy import text

from ledger.errors import Misconfigured, Unreachable
from ledger.postgres.database import autocommit, build_engine, probe
from ledger.postgres.failover import CONNECT_TIMEOUT_S
from monitoring.health.database_breaker import DatabaseBreaker
from testing.servers.databases import owner_engine


def test_an_unreadable_url_is_reported() -> None:
    with pytest.raises(Misconfigured):
        build_engine("postgresql://host/name?no_such_parameter=1", application_name="test")


def test_the_first_host_that_takes_writes_is_used(own_database_url: str) -> None:
    """The first hosts are a server that hangs and a port where nothing listens."""
    head, _, tail = own_database_url.rpartition("@")
    address, _, name = tail.partition("/")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"127.0.0.1:{silent.getsockname()[1]},127.0.0.1:1,{address}"
        url = f"{head}@{hosts}/{name}?target_session_attrs=read-write"
        engine = build_engine(url, application_name="test", pool_size=0)
        probe(engine)
        begun_s = time.monotonic()
        probe(engine)
        assert time.monotonic() - begun_s < CONNECT_TIMEOUT_S, "the good one is asked first now"


def test_a_read_only_database_is_not_used_for_writes(own_database_url: str) -> None:
    engine = build_engine(own_database_url, application_name="test", pool_size=1)
    with autocommit(engine) as connection:
        connection.execute(text("SET default_transaction_read_only = on"))
    with pytest.raises(Unreachable):
        probe(engine)
    engine.dispose()


def test_connections_that_lie_idle_do_not_lock_the_probe_out(own_database_url: str) -> None:
    """The server has no free connections, and all used ones are idle in our own pool."""
    pool = build_engine(own_database_url, application_name="test", pool_size=4)
    probing = build_engine(own_database_url, application_name="test", pool_size=0)
    with ExitStack() as stack, owner_engine(pool) as owner:
        used = [stack.enter_context(autocommit(pool)) for _ in range(4)]
        name = used[0].execute(text("SELECT current_database()")).scalar_one()
        with autocommit(owner) as connection:
            connection.execute(text(f"ALTER DATABASE {name} CONNECTION LIMIT 4"))
    watch = DatabaseBreaker(lambda: probe(probing), when_away=pool.dispose)
    assert not watch.probe_once()
    assert not watch.probe_once()
    assert watch.state == "open"
    assert watch.probe_once()
    assert watch.state == "closed"
    pool.dispose()


def test_an_answer_is_not_waited_for_without_end(own_database_url: str) -> None:
    """The server's own time-out is off, as if the server were frozen."""
    engine = build_engine(
        own_database_url, application_name="test", pool_size=1, statement_timeout_s=0.2
    )
    endless = text("SET statement_timeout = 0; SELECT pg_sleep(30)")
    with pytest.raises(Unreachable), autocommit(engine) as connection:
        connection.execute(endless)
    probe(engine)  # on a connection of its own again
    engine.dispose()
