"""Concurrent transactions: runs two at once, in an order that the test decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, text

from ledger.postgres.database import autocommit, transaction

A = TypeVar("A")
B = TypeVar("B")

TIMEOUT_S = 10.0


def second_waits_for_first(
    engine: Engine, first: Callable[[Connection], A], second: Callable[[Connection], B]
) -> tuple[A, B]:
    """Run `second` in a thread while `first` has done its work but not committed it.

    Commits the first once the database shows that the second waits for it. Fails when it never
    waits: then no lock separates the two.
    """
    with meanwhile(engine, second) as start:
        with transaction(engine) as connection:
            one = first(connection)
            running = start()
            wait_until_blocked(engine, unless=running)
        return one, running.result(TIMEOUT_S)


def both_at_once(
    engine: Engine, first: Callable[[Connection], A], second: Callable[[Connection], B]
) -> tuple[A, B]:
    """Run `second` from start to commit while `first` has done its work but not committed it."""
    with meanwhile(engine, second) as start, transaction(engine) as connection:
        one = first(connection)
        return one, start().result(TIMEOUT_S)


@contextmanager
def meanwhile(engine: Engine, work: Callable[[Connection], B]) -> Iterator[Callable[[], Future[B]]]:
    """Yield a function that starts `work` in a thread and transaction of its own."""

    def run() -> B:
        with transaction(engine) as connection:
            return work(connection)

    with ThreadPoolExecutor(max_workers=1) as pool:
        yield lambda: pool.submit(run)


def wait_until_blocked(
    engine: Engine,
    *,
    unless: Future[Any] | None = None,
    transactions: int = 1,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Wait until this many transactions of the database wait for a lock."""
    deadline = time.monotonic() + timeout_s
    with autocommit(engine) as connection:
        while time.monotonic() < deadline:
            if connection.execute(_BLOCKED).scalar_one() >= transactions:
                return
            if unless is not None and unless.done():
                raise AssertionError(f"it did not wait: {unless.exception() or unless.result()!r}")
            time.sleep(0.005)
    raise AssertionError("no transaction waits for a lock")


def wait_until_connected(engine: Engine, application_name: str, *, sessions: int) -> None:
    """Wait until this many sessions of a program are connected to the database."""
    deadline = time.monotonic() + 90
    with autocommit(engine) as connection:
        while connection.execute(_CONNECTED, {"name": application_name}).scalar_one() < sessions:
            if time.monotonic() > deadline:
                raise AssertionError(f"fewer than {sessions} sessions of {application_name}")
            time.sleep(0.05)


_CONNECTED = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = :name
""")
_BLOCKED = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
""")
