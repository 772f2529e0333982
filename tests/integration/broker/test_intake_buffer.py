"""Intake buffer on each kind of broker: durable, bounded, in order, and shared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Buffered, IntakeBuffer, decode
from ledger.clients import Client
from ledger.errors import Overloaded, Unavailable
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer, intake_seal
from testing.identity import IDENTITY
from testing.servers.brokers import Broker
from testing.worker_processes import eventually

ALICE = Client(uuid4(), "", "client", None)
"""As an entry names its client: by id only."""


SEAL = intake_seal(
    Settings.from_environment(
        {
            **IDENTITY,
            "DATABASE_URL": "postgresql://nowhere",
            "BROKER_URL": "redis://nowhere",
            "CACHE_URL": "redis://nowhere",
        }
    )
)


def requests(count: int, **changes: Any) -> list[Buffered]:
    return [
        Buffered(
            TransferRequest(
                client=ALICE,
                idempotency_key=str(uuid4()),
                source_id=uuid4(),
                destination_id=uuid4(),
                asset="USD",
                scale=2,
                amount_minor=number + 1,
                **changes,
            ),
            datetime.now(UTC),
        )
        for number in range(count)
    ]


@pytest.fixture
def settings(broker: Broker, cache_url: str) -> Settings:
    broker.empty()
    return Settings.from_environment(
        {
            **IDENTITY,
            "DATABASE_URL": "postgresql://nowhere",
            "BROKER_URL": broker.url,
            "CACHE_URL": cache_url,
        }
    )


@pytest.fixture
def buffer(settings: Settings) -> Iterator[IntakeBuffer]:
    buffer = intake_buffer(settings)
    yield buffer
    buffer.close()


@pytest.fixture
def another(settings: Settings) -> Iterator[IntakeBuffer]:
    """Return the buffer as another process sees it."""
    buffer = intake_buffer(settings)
    yield buffer
    buffer.close()


@pytest.fixture
def bounded(settings: Settings, buffer: IntakeBuffer) -> Iterator[IntakeBuffer]:
    """Return a buffer limited to 50 requests, on a broker where the limit was larger before."""
    assert buffer.count() == 0
    bounded = intake_buffer(replace(settings, intake_buffer_limit=50))
    yield bounded
    bounded.close()


def drained(buffer: IntakeBuffer, limit: int = 100) -> list[Buffered]:
    entries = buffer.first(limit)
    buffer.remove(entries)
    return [decode(entry.content, SEAL) for entry in entries]


def test_what_is_put_comes_out_whole_and_in_order(
    buffer: IntakeBuffer, another: IntakeBuffer
) -> None:
    sent = requests(3, metadata={"note": "ä ☃"}) + requests(4)
    assert [kept.is_new for kept in buffer.put(sent[:5]) + buffer.put(sent[5:])] == [True] * 7
    assert another.count() == 7
    assert another.find(sent[6].id) == sent[6]
    assert drained(another, limit=4) == sent[:4]
    assert drained(another) == sent[4:]
    assert another.count() == 0
    assert another.find(sent[6].id) is None
    assert another.first(10) == []


def test_a_key_is_kept_once_and_the_first_request_counts(
    buffer: IntakeBuffer, another: IntakeBuffer
) -> None:
    [first] = requests(1)
    changed = replace(first, request=replace(first.request, amount_minor=999))
    [kept, again] = buffer.put([first, first])
    assert (kept.buffered, kept.is_new, again.buffered, again.is_new) == (first, True, first, False)
    [other] = another.put([changed])
    assert (other.buffered, other.is_new) == (first, False)
    # A queue cannot be searched, so a repeat may be kept twice; the replay detects it.
    assert {each.id for each in drained(buffer)} == {first.id}


def test_a_repeat_is_kept_again_where_the_broker_has_lost_the_first(
    buffer: IntakeBuffer, another: IntakeBuffer, broker: Broker
) -> None:
    [lost] = requests(1)
    buffer.put([lost])
    broker.empty()
    another.put([lost])
    assert drained(buffer) == [lost]


def test_another_content_under_a_known_key_is_not_kept(buffer: IntakeBuffer) -> None:
    [first] = requests(1)
    buffer.put([first])
    buffer.put([replace(first, request=replace(first.request, amount_minor=999))])
    assert {each.request.amount_minor for each in drained(buffer)} == {first.request.amount_minor}


def test_released_entries_are_there_for_the_next_reader(
    buffer: IntakeBuffer, another: IntakeBuffer
) -> None:
    buffer.put(requests(5))
    assert len(another.first(5)) == 5
    another.release()
    another.release()
    assert len(drained(buffer)) == 5


def test_entries_that_were_not_removed_come_again(
    buffer: IntakeBuffer, another: IntakeBuffer
) -> None:
    sent = requests(5)
    buffer.put(sent)
    another.first(3)
    another.close()  # the reader that had them is gone
    entries = buffer.first(3)
    assert {decode(entry.content, SEAL).id for entry in entries} <= {each.id for each in sent}
    entries = buffer.first(10)  # and here a replay failed, so they are requested once more
    assert sorted(decode(entry.content, SEAL).request.amount_minor for entry in entries) == [
        1,
        2,
        3,
        4,
        5,
    ]
    buffer.remove(entries[:2])
    assert len(buffer.first(10)) == 3


def test_removing_twice_removes_nothing_else(buffer: IntakeBuffer) -> None:
    sent = requests(4)
    buffer.put(sent)
    entries = buffer.first(2)
    buffer.remove(entries)
    buffer.remove(entries)
    assert drained(buffer) == sent[2:]


def test_it_is_bounded_and_takes_all_of_a_batch_or_nothing(bounded: IntakeBuffer) -> None:
    bounded.put(requests(45))
    with pytest.raises(Overloaded):
        bounded.put(requests(6))
    assert bounded.count() == 45
    bounded.put(requests(5))
    with pytest.raises(Overloaded):
        bounded.put(requests(1))


def test_it_survives_the_death_of_its_broker(buffer: IntakeBuffer, broker: Broker) -> None:
    sent = requests(20)
    buffer.put(sent)
    # A kill of RabbitMQ 3.10 brings a queue back dead that is younger than about a second. Ours
    # are declared when the first worker starts, long before they hold anything.
    time.sleep(2)
    broker.process.kill()
    with pytest.raises(Unavailable):
        buffer.put(requests(1))
    broker.process.start()
    eventually(lambda: answers(buffer))
    assert {each.id for each in drained(buffer)} == {each.id for each in sent}


def test_a_frozen_broker_is_given_up(buffer: IntakeBuffer, broker: Broker) -> None:
    buffer.put(requests(1))
    with broker.process.frozen():
        for ask in (lambda: buffer.put(requests(1)), buffer.count, lambda: buffer.first(1)):
            with pytest.raises(Unavailable):
                ask()
    eventually(lambda: answers(buffer))
    buffer.put(requests(1))


def answers(buffer: IntakeBuffer) -> bool:
    """Return whether the queue works again, which takes a moment after a start of the broker."""
    try:
        buffer.first(1)
    except Unavailable:
        return False
    return True


def test_many_threads_share_one_buffer(buffer: IntakeBuffer) -> None:
    sent = [requests(1) for _ in range(40)]
    threads = [threading.Thread(target=buffer.put, args=(each,)) for each in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.id for each in drained(buffer)} == {each.id for [each] in sent}
