"""Group commit on a real database, with a buffer that is full or away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis
from celery import Celery

from api.database import Database
from api.transfers.group_commit import GroupCommit
from ledger.acceptance import Acceptance, TransferRequest
from ledger.buffer import replaying
from ledger.buffer.entries import Buffered, IntakeBuffer, Kept, decode
from ledger.errors import Overloaded, Unavailable
from ledger.postgres.database import build_engine, probe, transaction
from monitoring.health.database_breaker import DatabaseBreaker
from settings import Settings
from tasks.broker.kick import Kicker
from tasks.buffer.client_shares import COUNTS, GRANTED
from tasks.buffer.intake_buffer import intake_buffer, intake_seal
from testing.bank import Bank
from testing.identity import IDENTITY, KEY_PREFIX
from testing.servers.brokers import Broker, RedisBroker
from testing.thread_limit import no_new_threads
from testing.worker_processes import eventually

SEAL = intake_seal(
    Settings.from_environment(
        {
            **IDENTITY,
            "DATABASE_URL": "postgresql://nowhere",
            "BROKER_URL": "redis://127.0.0.1:1/0",
            "CACHE_URL": "redis://127.0.0.1:1/0",
        }
    )
)
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


@pytest.fixture
def buffer(broker: Broker, cache_url: str) -> Iterator[IntakeBuffer]:
    """Return a buffer in which a client that is alone has room for three requests."""
    broker.empty()
    with redis.Redis.from_url(cache_url) as cache:
        cache.delete(KEY_PREFIX + COUNTS, KEY_PREFIX + GRANTED)
    environment = {**IDENTITY, "DATABASE_URL": "postgresql://nowhere", "CACHE_URL": cache_url}
    settings = Settings.from_environment(
        environment | {"BROKER_URL": broker.url, "INTAKE_BUFFER_LIMIT": "6"}
    )
    buffer = intake_buffer(settings)
    yield buffer
    buffer.close()


def submitted(bank: Bank, buffer: IntakeBuffer, *requests: TransferRequest) -> list[str]:
    """Submit to an API process that has seen no outage. Returns: the states that it answers."""
    database = Database(bank.engine, DatabaseBreaker(lambda: probe(bank.engine)))
    outcomes = GroupCommit(database, buffer, lambda: None).submit(list(requests))
    return [
        each.transfer.state if isinstance(each, Acceptance) else "buffered"
        for each in outcomes
        if isinstance(each, Acceptance | Kept)
    ]


def drain(bank: Bank, buffer: IntakeBuffer) -> None:
    while entries := buffer.first(10):
        with transaction(bank.engine) as connection:
            replaying.replay(connection, [decode(entry.content, SEAL) for entry in entries])
        buffer.remove(entries)
    buffer.release()


def test_money_that_a_buffered_transfer_brings_may_be_spent_before_it_is_drained(
    bank: Bank, buffer: IntakeBuffer
) -> None:
    e, a, b, c = bank.wallet(100), bank.wallet(), bank.wallet(), bank.wallet(10)
    brings = bank.request(e, a, 100)
    assert submitted(bank, buffer, bank.request(a, b, 60)) == ["rejected"], "nothing is buffered"
    buffer.put([Buffered(brings, datetime.now(UTC))])
    spends, other = bank.request(a, b, 60), bank.request(c, b, 10)
    assert submitted(bank, buffer, spends, other) == ["buffered", "accepted"]
    assert submitted(bank, buffer, spends) == ["buffered"]
    drain(bank, buffer)
    bank.settle()
    made = [Buffered(each, datetime.now(UTC)).id for each in (brings, spends, other)]
    assert bank.states(made) == {"committed"}
    assert bank.look(b).balance == 70


def test_a_refusal_waits_for_a_replay_that_holds_what_has_left_the_buffer(
    bank: Bank, buffer: IntakeBuffer
) -> None:
    spends = bank.request(bank.wallet(), bank.wallet(), 60)
    with replaying.try_replay_lock(bank.engine) as is_alone:
        assert is_alone
        assert submitted(bank, buffer, spends) == ["buffered"]
    drain(bank, buffer)
    assert submitted(bank, buffer, spends) == ["rejected"]


def test_where_it_cannot_queue_behind_the_older_ones_reserve_decides(
    bank: Bank, buffer: IntakeBuffer
) -> None:
    a, b = bank.wallet(50), bank.wallet()
    older = [Buffered(bank.request(b, a, 1), datetime.now(UTC)) for _ in range(3)]
    buffer.put(older)  # now the client has no room left
    asked = [bank.request(a, b, 60), bank.request(a, b, 40)]
    assert submitted(bank, buffer, *asked) == ["accepted", "accepted"]
    group_commit = group_commit_of(bank, lambda: None)  # its broker is away
    [answer] = group_commit.submit([bank.request(a, b, 61)])
    assert isinstance(answer, Acceptance)
    assert answer.transfer.state == "accepted"
    bank.settle()
    assert bank.look(a).available == 10


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
