"""Group commit on a real database, with a buffer that is full or away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from celery import Celery

from api.database import Database
from api.transfers.group_commit import GroupCommit
from ledger.acceptance import Acceptance
from ledger.buffer.entries import Buffered
from ledger.errors import Overloaded, Unavailable
from ledger.postgres.database import build_engine, probe
from monitoring.health.database_breaker import DatabaseBreaker
from settings import Settings
from tasks.broker.kick import Kicker
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.brokers import RedisBroker
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually

NOWHERE = "redis://127.0.0.1:1/0"


def group_commit_of(bank: Bank, kick: Callable[[], None]) -> GroupCommit:
    """Build a group commit on a working database, so that its missing buffer is never used."""
    settings = Settings.from_environment(
        {
            **IDENTITY,
            "DATABASE_URL": "postgresql://nowhere",
            "BROKER_URL": NOWHERE,
            "CACHE_URL": NOWHERE,
        }
    )
    database = Database(bank.engine, DatabaseBreaker(lambda: probe(bank.engine)))
    return GroupCommit(database, intake_buffer(settings), kick)


def test_workers_are_kicked_for_new_transfers_and_only_after_the_commit(bank: Bank) -> None:
    seen: list[int] = []
    group_commit = group_commit_of(bank, lambda: seen.append(bank.unfinished()))
    source, destination = bank.wallet(100), bank.wallet()
    request = bank.request(source, destination, 60)
    group_commit.submit([request])
    assert seen == [1]  # seen from another connection, so committed

    group_commit.submit([request])  # a repeat
    group_commit.submit([bank.request(source, destination, 1000)])  # rejected at once
    group_commit.submit([bank.request(source, source, 1)])  # wrong
    assert seen == [1]

    group_commit.submit([request, bank.request(source, destination, 10)])
    assert seen == [1, 2]


@pytest.mark.parametrize("is_watched", [True, False], ids=["kicker", "watch and kicker"])
def test_a_recorded_transfer_is_answered_although_no_thread_can_start(
    bank: Bank, *, is_watched: bool
) -> None:
    kicker = Kicker(Celery(), lambda _: None)
    group_commit = group_commit_of(bank, kicker.kick)
    source = bank.wallet(100)
    if is_watched:
        group_commit.submit([bank.request(source, source, 1)])  # wrong, so it is not kicked for
    with no_new_threads():
        [answer] = group_commit.submit([bank.request(source, bank.wallet(), 60)])
    assert isinstance(answer, Acceptance)
    assert bank.unfinished() == 1


def test_a_full_buffer_says_that_nothing_was_recorded_only_where_that_is_known(
    bank: Bank, redis_broker: RedisBroker
) -> None:
    redis_broker.empty()
    environment = {**IDENTITY, "DATABASE_URL": "postgresql://nowhere", "CACHE_URL": NOWHERE}
    settings = Settings.from_environment(
        environment | {"BROKER_URL": redis_broker.url, "INTAKE_BUFFER_LIMIT": "1"}
    )
    buffer = intake_buffer(settings)
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    buffer.put([Buffered(request, datetime.now(UTC))])
    gone = build_engine("postgresql://127.0.0.1:1/none", application_name="test")
    watch = DatabaseBreaker(lambda: probe(gone))
    group_commit = GroupCommit(Database(gone, watch), buffer, lambda: None)
    another = replace(request, idempotency_key="another")
    with pytest.raises(Unavailable) as doubtful:
        group_commit.submit([another])
    assert doubtful.value.code == "unavailable"
    eventually(lambda: not watch.is_up())
    with pytest.raises(Overloaded):
        group_commit.submit([another])
    buffer.close()


def test_answers_come_in_the_order_of_the_requests(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    requests = [bank.request(source, destination, amount) for amount in (1, 200, 3)]
    answers = group_commit_of(bank, lambda: None).submit(requests)
    assert [
        answer.transfer.amount_minor for answer in answers if isinstance(answer, Acceptance)
    ] == [
        1,
        200,
        3,
    ]
