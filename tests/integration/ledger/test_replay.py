"""Replay of the buffer: each request ends once, as a transfer or a recorded rejection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from ledger import transfers
from ledger.acceptance import Acceptance, TransferRequest
from ledger.buffer import replaying
from ledger.buffer.entries import Buffered
from ledger.buffer.replaying import Replayed, replay
from ledger.errors import IdempotencyKeyReused, NotFound, Unreachable
from ledger.postgres.database import autocommit, transaction
from testing.bank import Bank
from testing.servers.databases import as_owner

EARLIER = datetime.now(UTC) - timedelta(minutes=5)


def replayed(bank: Bank, *requests: TransferRequest, at: datetime = EARLIER) -> Replayed:
    with transaction(bank.engine) as connection:
        done, unknown = replay(connection, [Buffered(request, at) for request in requests])
    assert not unknown
    return done


def id_of(request: TransferRequest) -> UUID:
    return Buffered(request, EARLIER).id


def test_requests_become_transfers_in_their_order(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    requests = [bank.request(source, destination, amount) for amount in (60, 30, 20)]
    assert replayed(bank, *requests) == Replayed(accepted=3)
    bank.settle()
    states = [bank.state(id_of(request)) for request in requests]
    assert states == ["committed", "committed", "rejected"]
    bank.audit()


def test_a_second_replay_changes_nothing(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    good = bank.request(source, destination, 60)
    poor = bank.request(source, destination, 1_000)
    wrong = bank.request(source, uuid4(), 1)
    assert replayed(bank, good, poor, wrong) == Replayed(accepted=1, refused=2)
    bank.settle()
    assert replayed(bank, good, poor, wrong) == Replayed(known=3)
    bank.settle()
    assert bank.look(destination).balance == 60


def test_the_timeline_begins_when_the_request_came(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    replayed(bank, request)
    bank.settle()
    timeline = bank.timeline(id_of(request))
    assert timeline == ["buffered", "accepted", "reserved", "deducted", "credited", "committed"]


def test_an_api_whose_clock_is_ahead_does_not_turn_the_timeline_around(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    replayed(bank, request, at=datetime.now(UTC) + timedelta(days=1))
    bank.settle()
    assert bank.timeline(id_of(request))[0] == "buffered"


def test_a_request_that_can_be_no_transfer_is_shown_as_rejected(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), uuid4(), 60, reference="rent")
    replayed(bank, request)
    read = bank.transfer(id_of(request))
    assert (read.state, read.amount_minor, read.reference) == ("rejected", 60, "rent")
    assert read.failure is not None
    assert read.failure.code == "wallet_not_found"
    assert bank.timeline(read.id) == ["buffered", "rejected"]
    with autocommit(bank.engine) as connection:
        assert transfers.get_transfer(connection, read.id, caller=bank.client).id == read.id
        with pytest.raises(NotFound):
            transfers.get_transfer(connection, read.id, caller=bank.new_client())


def test_a_refused_key_stays_refused_when_the_reason_is_gone(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    wrong = bank.request(source, uuid4(), 60, key="k")
    replayed(bank, wrong)
    [again] = bank.answers(wrong)
    assert isinstance(again, Acceptance)
    assert (again.replayed, again.transfer.state) == (True, "rejected")
    # Another content under that key is another content, not a second chance.
    [other] = bank.answers(bank.request(source, destination, 60, key="k"))
    assert isinstance(other, IdempotencyKeyReused)
    assert bank.unfinished() == 0


def test_a_key_that_the_database_knew_already_keeps_its_first_meaning(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    first = bank.request(source, destination, 60, key="k")
    bank.accept(first)
    late = bank.request(source, destination, 61, key="k")
    assert replayed(bank, late) == replayed(bank, late) == Replayed(reused=1)
    bank.settle()
    assert bank.timeline(id_of(first)).count("key_reused") == 1
    assert bank.transfer(id_of(first)).amount_minor == 60
    assert bank.look(destination).balance == 60


def test_two_buffered_requests_with_one_key_are_one_transfer(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    assert replayed(bank, request, request) == Replayed(accepted=1, known=1)


def test_a_refusal_is_final(bank: Bank) -> None:
    replayed(bank, bank.request(bank.wallet(100), uuid4(), 60))
    for change in ("UPDATE refused_requests SET amount = 1", "DELETE FROM refused_requests"):
        with (
            pytest.raises(IntegrityError, match="are final"),
            as_owner(bank.engine) as connection,
        ):
            connection.execute(text(change))


def test_an_entry_that_the_database_refuses_can_be_given_up(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    with transaction(bank.engine) as connection:
        replaying.give_up(connection, Buffered(request, EARLIER))
    assert bank.state(id_of(request)) == "rejected"


def test_only_one_replays_at_a_time(bank: Bank) -> None:
    with (
        replaying.try_replay_lock(bank.engine) as first,
        replaying.try_replay_lock(bank.engine) as second,
    ):
        assert (first, second) == (True, False)
    with replaying.try_replay_lock(bank.engine) as third:
        assert third


def test_a_replay_that_stands_still_is_ended_by_the_server(bank: Bank) -> None:
    with replaying.try_replay_lock(bank.engine), autocommit(bank.engine) as connection:
        # Idle in a transaction, which has a time limit; a session that is merely idle has none.
        assert connection.execute(text(_STATE_OF_THE_HOLDER)).scalar_one() == "idle in transaction"


def test_the_death_of_a_replay_lets_the_next_one_start(bank: Bank) -> None:
    with pytest.raises(Unreachable):  # the one that was cut off fails
        _be_cut_off_while_alone(bank)


def _be_cut_off_while_alone(bank: Bank) -> None:
    with replaying.try_replay_lock(bank.engine):
        with bank.engine.connect() as other:
            other.execute(text(_END_THE_HOLDER))
        with replaying.try_replay_lock(bank.engine) as next_one:
            assert next_one


_STATE_OF_THE_HOLDER = """
SELECT state FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_END_THE_HOLDER = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
