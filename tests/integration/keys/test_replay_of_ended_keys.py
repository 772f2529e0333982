"""Replay after the end of a key: what was buffered before is executed, what came later is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ledger.buffer.entries import Buffered, decode, encode
from ledger.buffer.replaying import Replayed, replay
from ledger.buffer.seal import Seal
from ledger.keys.credentials import Credential
from ledger.postgres.database import transaction
from testing.bank import Bank
from tests.integration.keys.register import Register

LATER = timedelta(minutes=1)


@pytest.fixture
def register(shared_bank: Bank) -> Register:
    return Register(shared_bank.engine)


def buffered(
    bank: Bank, by: Credential, *, after: datetime, key_id: UUID | None = None
) -> list[Buffered]:
    """Return a request just before this time, and one just after it."""
    entries = []
    for at in (after - LATER, after + LATER):
        wallets = (bank.wallet(100, owner=by.client), bank.wallet(owner=by.client))
        request = bank.request(*wallets, 60, client=by.client)
        entries.append(Buffered(replace(request, key_id=key_id or by.key.id), at))
    return entries


def replayed(bank: Bank, entries: list[Buffered]) -> Replayed:
    with transaction(bank.engine) as connection:
        done, unknown = replay(connection, entries)
    assert unknown == []
    bank.settle()
    return done


def states(bank: Bank, entries: list[Buffered]) -> list[str]:
    return [bank.state(each.id) for each in entries]


def check(bank: Bank, by: Credential, at: datetime, **changes: UUID) -> None:
    """Check that what was buffered before this time is executed, and what came later is not."""
    entries = buffered(bank, by, after=at, **changes)
    assert replayed(bank, entries) == Replayed(accepted=1, refused=1)
    assert states(bank, entries) == ["committed", "rejected"]
    failure = bank.transfer(entries[1].id).failure
    assert failure is not None
    assert failure.code == "forbidden"
    assert "API key" in failure.detail
    assert replayed(bank, entries) == Replayed(known=1, refused=1)
    assert states(bank, entries) == ["committed", "rejected"]
    bank.audit()


def test_a_request_that_slipped_in_after_the_revocation_is_rejected(
    shared_bank: Bank, register: Register
) -> None:
    by, _ = register.client()
    register.revoke(by, by.key.id)
    at = register.run("SELECT revoked_at FROM api_keys WHERE id = :id", id=by.key.id)
    check(shared_bank, by, at)


def test_a_request_of_a_client_that_was_disabled_is_rejected(
    shared_bank: Bank, register: Register
) -> None:
    by, _ = register.client()
    register.disable(by.client.id)
    at = register.run("SELECT disabled_at FROM clients WHERE id = :id", id=by.client.id)
    check(shared_bank, by, at)


def test_a_request_from_while_a_client_was_disabled_is_rejected_after_it_was_enabled(
    shared_bank: Bank, register: Register
) -> None:
    by, _ = register.client()
    register.disable(by.client.id)
    register.run(
        "UPDATE clients SET disabled_at = now() - interval '2 minutes' WHERE id = :id",
        id=by.client.id,
    )
    register.enable(by.client.id)
    at = register.run("SELECT disabled_at FROM clients WHERE id = :id", id=by.client.id)
    check(shared_bank, by, at)
    since = buffered(shared_bank, by, after=datetime.now(UTC) + LATER)[1:]
    assert replayed(shared_bank, since) == Replayed(accepted=1)


def test_a_request_from_after_the_key_had_expired_is_rejected(
    shared_bank: Bank, register: Register
) -> None:
    first, _ = register.client()
    at = datetime.now(UTC) + 2 * LATER
    by = register.credential(register.key(first, expires_at=at)[1])
    check(shared_bank, by, at)


@pytest.mark.parametrize("whose", ["nobody's", "another client's"])
def test_a_key_that_is_not_the_clients_moves_nothing(
    shared_bank: Bank, register: Register, whose: str
) -> None:
    by, _ = register.client()
    other = uuid4() if whose == "nobody's" else register.client()[0].key.id
    entries = buffered(shared_bank, by, after=datetime.now(UTC), key_id=other)
    assert replayed(shared_bank, entries) == Replayed(refused=2)


def test_what_the_database_knew_before_its_key_ended_stays_as_it_is(
    shared_bank: Bank, register: Register
) -> None:
    by, _ = register.client()
    entries = buffered(shared_bank, by, after=datetime.now(UTC))
    assert replayed(shared_bank, entries) == Replayed(accepted=2)
    register.disable(by.client.id)
    late = [replace(each, at=each.at + 10 * LATER) for each in entries]
    replayed(shared_bank, late)
    assert states(shared_bank, late) == ["committed", "committed"]


def test_an_entry_names_the_key_that_it_was_sent_with(shared_bank: Bank) -> None:
    seal = Seal(["known-to-the-world-0123456789abcdef"], installation_id="test", purpose="test")
    request = shared_bank.request(shared_bank.wallet(), shared_bank.wallet(), 1)
    for key_id in (uuid4(), None):
        entry = Buffered(replace(request, key_id=key_id), datetime.now(UTC))
        assert decode(encode(entry, seal), seal).request.key_id == key_id
