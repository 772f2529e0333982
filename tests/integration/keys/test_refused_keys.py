"""Refused keys, as processes ask for them, and the note of the last day of use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ledger.clients import hash_key
from ledger.keys import revocations
from ledger.keys.changes import revoke_key
from ledger.keys.credentials import find_credential
from ledger.keys.revocations import RefusedKey, note_use, refused_since
from ledger.postgres.database import autocommit, transaction
from testing.concurrent_transactions import both_at_once
from tests.integration.keys.register import Register


def refused(
    register: Register, since: datetime, *, after: RefusedKey | None = None
) -> list[RefusedKey]:
    with autocommit(register.engine) as connection:
        return refused_since(connection, since, after=after)


def start(register: Register) -> datetime:
    """Return a time from which on, with what counts as just before, nothing has happened yet."""
    began: datetime = register.run("SELECT clock_timestamp()")
    return began + revocations.SETTLED_AFTER


def test_revoked_keys_and_those_of_disabled_clients_are_found_and_no_others(
    register: Register,
) -> None:
    since = start(register)
    one, secret = register.client()
    _, other = register.key(one)
    two, of_two = register.client()
    register.client()
    register.revoke(one, one.key.id)
    register.disable(two.client.id)
    found = refused(register, since)
    assert [each.key_hash for each in found] == [hash_key(secret), hash_key(of_two)]
    register.enable(two.client.id)
    assert [each.key_hash for each in refused(register, since)] == [hash_key(secret)]
    register.disable(one.client.id)
    assert {each.key_hash for each in refused(register, since)} == set(
        map(hash_key, (secret, other))
    )


def test_many_keys_revoked_at_one_time_are_read_page_by_page(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = start(register)
    first, _ = register.client()
    hashes = {hash_key(register.key(first)[1]) for _ in range(7)}
    register.run("UPDATE api_keys SET revoked_at = now() WHERE id <> :id", id=first.key.id)
    limited = revocations._REFUSED.limit(3)
    monkeypatch.setattr(revocations, "_REFUSED", limited)
    pages: list[RefusedKey] = []
    while page := refused(register, since, after=pages[-1] if pages else None):
        pages += page
    assert {each.key_hash for each in pages} == hashes
    assert len(pages) == len(hashes)


def test_a_revocation_that_is_committed_late_is_still_found(register: Register) -> None:
    one, secret = register.client()
    two, _ = register.client()
    with transaction(register.engine) as connection:
        revoke_key(connection, one.client.id, one.key.id, by=one)
        register.revoke(two, two.key.id)  # later, but committed first
        [seen] = refused(register, datetime.now(UTC))
    assert hash_key(secret) in {each.key_hash for each in refused(register, seen.at)}


def test_the_day_of_use_is_written_once_a_day(shared_register: Register) -> None:
    first, secret = shared_register.client()

    def found() -> tuple[object, bool]:
        with autocommit(shared_register.engine) as connection:
            found = find_credential(connection, secret)
        assert found is not None
        return found.credential.key.last_used_on, found.is_noted

    def version() -> object:
        query = "SELECT xmin::text FROM api_keys WHERE id = :id"
        return shared_register.run(query, id=first.key.id)

    assert found() == (None, False)
    for _ in range(2):
        with autocommit(shared_register.engine) as connection:
            note_use(connection, [first.key.id])
    today = datetime.now(UTC).date()
    assert found() == (today, True)
    before = version()
    with autocommit(shared_register.engine) as connection:
        note_use(connection, [first.key.id])
    assert version() == before
    yesterday = today - timedelta(days=1)
    shared_register.run("UPDATE api_keys SET last_used_on = :day", day=yesterday)
    assert found() == (yesterday, False)


def test_two_processes_that_note_the_same_keys_do_not_wait_for_each_other(
    shared_register: Register,
) -> None:
    ids = [shared_register.client()[0].key.id for _ in range(3)]
    both_at_once(
        shared_register.engine,
        lambda connection: note_use(connection, ids),
        lambda connection: note_use(connection, ids[::-1]),
    )
