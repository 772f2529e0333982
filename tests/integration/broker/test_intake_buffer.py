"""Intake buffer on each kind of broker: durable, bounded, in order, and shared."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import redis

from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Buffered, IntakeBuffer, Kept, decode
from ledger.clients import Client
from ledger.errors import Overloaded, Unavailable
from settings import Settings
from tasks.buffer.client_shares import COUNTS, GRANTED
from tasks.buffer.intake_buffer import intake_buffer, intake_seal
from testing.identity import IDENTITY, KEY_PREFIX
from testing.servers.brokers import Broker, RabbitBroker
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


def requests(count: int, client: Client = ALICE, **changes: Any) -> list[Buffered]:
    return [
        Buffered(
            TransferRequest(
                client=client,
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
    with redis.Redis.from_url(cache_url) as cache:
        cache.delete(
            KEY_PREFIX + COUNTS, KEY_PREFIX + GRANTED
        )  # they begin again 10 s after the last request
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


def kept(buffer: IntakeBuffer, requests: list[Buffered]) -> list[Kept]:
    """Put requests that must all be kept."""
    answers = [each for each in buffer.put(requests) if isinstance(each, Kept)]
    assert len(answers) == len(requests)
    return answers


def refusals(buffer: IntakeBuffer, requests: list[Buffered]) -> int:
    """Put requests. Returns: how many of them were refused for lack of room."""
    return sum(isinstance(each, Overloaded) for each in buffer.put(requests))


def drained(buffer: IntakeBuffer, limit: int = 100) -> list[Buffered]:
    entries = buffer.first(limit)
    buffer.remove(entries)
    return [decode(entry.content, SEAL) for entry in entries]


def test_what_is_put_comes_out_whole_and_in_order(
    buffer: IntakeBuffer, another: IntakeBuffer
) -> None:
    sent = requests(3, metadata={"note": "ä ☃"}) + requests(4)
    answers = kept(buffer, sent[:5]) + kept(buffer, sent[5:])
    assert [each.is_new for each in answers] == [True] * 7
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
    [own, again] = kept(buffer, [first, first])
    assert (own.buffered, own.is_new, again.buffered, again.is_new) == (first, True, first, False)
    [other] = kept(another, [changed])
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


def test_it_is_bounded_and_one_client_gets_half_of_what_the_others_leave(
    bounded: IntakeBuffer,
) -> None:
    bob, carol = (Client(uuid4(), "", "client", None) for _ in range(2))
    assert refusals(bounded, requests(20)) == 0
    # All new ones of a client, or none: it may have 25 of 50.
    assert refusals(bounded, requests(6)) == 6
    assert refusals(bounded, requests(5)) == 0
    assert refusals(bounded, requests(1)) == 1
    # Half of 25, and half of 12 for the next one.
    assert refusals(bounded, requests(13, client=bob)) == 0
    assert refusals(bounded, requests(1, client=bob)) == 1
    assert refusals(bounded, requests(7, client=carol)) == 7
    assert refusals(bounded, requests(6, client=carol)) == 0
    assert bounded.count() == 44


def test_one_client_without_room_does_not_hold_up_others_in_the_same_call(
    bounded: IntakeBuffer,
) -> None:
    bob = Client(uuid4(), "", "client", None)
    own = requests(25)
    kept(bounded, own)
    mixed = bounded.put([*requests(2), *requests(3, client=bob), own[0]])
    assert [type(each) for each in mixed[:5]] == [Overloaded] * 2 + [Kept] * 3
    # A repeat of what is kept is never said to be certainly not kept.
    assert not isinstance(mixed[5], Overloaded)
    assert bounded.count() == 28


def test_a_client_has_room_again_when_its_requests_are_drained(bounded: IntakeBuffer) -> None:
    kept(bounded, requests(25))
    assert refusals(bounded, requests(1)) == 1
    drained(bounded, limit=10)
    assert refusals(bounded, requests(11)) == 11
    assert refusals(bounded, requests(10)) == 0
    drained(bounded, limit=100)
    assert refusals(bounded, requests(25)) == 0


def test_clients_share_exactly_when_many_processes_put_at_once(settings: Settings) -> None:
    buffers = [intake_buffer(replace(settings, intake_buffer_limit=50)) for _ in range(4)]
    buffers[0].count()
    refused: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: refused.append(refusals(each, requests(1))))
        for each in buffers * 10
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (buffers[0].count(), sum(refused)) == (25, 15)
    for each in buffers:
        each.close()


def test_without_the_cache_one_client_still_leaves_room(settings: Settings) -> None:
    away = replace(settings, cache_url="redis://127.0.0.1:1/0", intake_buffer_limit=50)
    buffer = intake_buffer(replace(away, api_processes=1))
    bob = Client(uuid4(), "", "client", None)
    kept(buffer, requests(25))
    assert refusals(buffer, requests(1)) == 1
    assert refusals(buffer, requests(5, client=bob)) == 0
    buffer.close()


@pytest.mark.parametrize("is_cache_away", [False, True])
def test_a_put_that_fails_uses_up_nothing_of_its_clients_share(
    rabbit_broker: RabbitBroker, cache_url: str, *, is_cache_away: bool
) -> None:
    environment = IDENTITY | {
        "INSTALLATION_ID": f"small-{uuid4()}"[:40],
        "DATABASE_URL": "postgresql://nowhere",
        "BROKER_URL": rabbit_broker.url,
        "CACHE_URL": "redis://127.0.0.1:1/0" if is_cache_away else cache_url,
    }
    settings = replace(Settings.from_environment(environment), api_processes=1)
    with closing(intake_buffer(replace(settings, intake_buffer_limit=1))) as small:
        small.count()  # makes the queue, for two messages
    with closing(intake_buffer(replace(settings, intake_buffer_limit=200))) as buffer:
        kept(buffer, requests(5))  # more than fit: RabbitMQ refuses the next ones
        eventually(lambda: buffer.count() == 5)
        sent = requests(60)
        for _ in range(3):  # the answer Overloaded would be returned, not raised
            with pytest.raises(Unavailable, match="refused a part"):
                buffer.put(sent)


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


def test_what_a_reader_holds_waits_and_goes_to_no_other_reader(
    buffer: IntakeBuffer, another: IntakeBuffer
) -> None:
    buffer.put(requests(3))
    assert len(another.first(3)) == 3
    assert buffer.count(), "a reader that dies now has left them to the next one"
    [*taken] = buffer.first(3)
    buffer.put(requests(1))
    is_shared = len(taken) == 3  # on Redis reading takes nothing out
    assert len(buffer.first(10)) == (4 if is_shared else 0), "the order would be lost"
    another.close()
    assert len(drained(buffer)) == 4
    assert buffer.count() == 0
