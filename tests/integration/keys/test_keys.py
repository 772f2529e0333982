"""API keys: what works, who may make and end them, and how many there may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection

from ledger.errors import Forbidden, InvalidField, InvalidState, NotFound
from ledger.keys.changes import (
    MAX_LIVE_KEYS,
    create_key,
    disable_client,
    list_keys,
    revoke_key,
)
from ledger.keys.credentials import Credential
from ledger.postgres.database import autocommit, transaction
from testing.concurrent_transactions import second_waits_for_first
from tests.integration.keys.register import Register

SOON = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def listed(register: Register, by: Credential) -> list[str | None]:
    with autocommit(register.engine) as connection:
        keys = list_keys(connection, by.client.id, by=by, limit=200, after=None)
    return [key.prefix for key in keys]


def test_a_key_finds_its_client_and_no_other_key_does(shared_register: Register) -> None:
    first, secret = shared_register.client()
    assert shared_register.find(secret + "x") is None
    assert shared_register.find("") is None
    key, other = shared_register.key(first, scope="read")
    found = shared_register.credential(other)
    assert (found.client, found.key) == (first.client, key)
    assert (first.key.scope, key.scope) == ("write", "read")
    assert secret.startswith(str(first.key.prefix))
    stored = "SELECT string_agg(to_jsonb(k)::text || to_jsonb(c)::text, '') FROM {} k, {} c"
    assert secret not in shared_register.run(stored.format("api_keys", "clients"))


def test_a_revoked_key_ends_and_never_comes_back(shared_register: Register) -> None:
    first, secret = shared_register.client()
    key, other = shared_register.key(first)
    shared_register.revoke(first, key.id)
    shared_register.revoke(first, key.id)
    assert shared_register.find(other) is None
    assert shared_register.credential(secret) == first
    assert listed(shared_register, first) == [first.key.prefix]
    with pytest.raises(Exception, match="are final"):
        shared_register.run("UPDATE api_keys SET revoked_at = NULL WHERE id = :id", id=key.id)


def test_an_expired_key_ends_by_the_clock_of_the_database(shared_register: Register) -> None:
    first, _ = shared_register.client()
    key, secret = shared_register.key(first, expires_at=now() + timedelta(seconds=1))
    assert shared_register.credential(secret).key == key
    shared_register.run("SELECT pg_sleep(1.1)")
    assert shared_register.find(secret) is None


def test_a_key_that_would_have_expired_already_is_not_made(shared_register: Register) -> None:
    first, _ = shared_register.client()
    with pytest.raises(InvalidField, match="in the future"):
        shared_register.key(first, expires_at=now() - timedelta(seconds=1))


def test_no_client_has_more_than_ten_keys_that_work(shared_register: Register) -> None:
    first, _ = shared_register.client()
    keys = [shared_register.key(first)[0] for _ in range(MAX_LIVE_KEYS - 1)]
    with pytest.raises(InvalidState):
        shared_register.key(first)
    shared_register.revoke(first, keys[0].id)
    shared_register.key(first, expires_at=now() + timedelta(seconds=0.2))
    shared_register.run("SELECT pg_sleep(0.3)")
    shared_register.key(first)  # an expired one does not count


def test_two_who_make_the_tenth_key_at_once_make_one(shared_register: Register) -> None:
    first, _ = shared_register.client()
    for _ in range(MAX_LIVE_KEYS - 2):
        shared_register.key(first)

    def make(connection: Connection) -> str:
        try:
            create_key(
                connection,
                first.client.id,
                by=first,
                name=None,
                scope="read",
                expires_at=None,
            )
        except InvalidState:
            return "refused"
        return "made"

    assert second_waits_for_first(shared_register.engine, make, make) == ("made", "refused")


def test_a_client_manages_its_own_keys_and_sees_no_others(shared_register: Register) -> None:
    first, _ = shared_register.client()
    stranger, _ = shared_register.client()
    with pytest.raises(NotFound):
        shared_register.key(stranger, of=first.client.id)
    with pytest.raises(NotFound):
        shared_register.revoke(stranger, first.key.id, of=first.client.id)
    with pytest.raises(NotFound):  # a key of another client, under one's own address
        shared_register.revoke(stranger, first.key.id)
    with autocommit(shared_register.engine) as connection, pytest.raises(NotFound):
        list_keys(connection, first.client.id, by=stranger, limit=10, after=None)
    admin, _ = shared_register.client("admin")
    key, secret = shared_register.key(admin, of=first.client.id)
    assert shared_register.credential(secret).client == first.client
    shared_register.revoke(admin, key.id, of=first.client.id)
    assert shared_register.find(secret) is None
    with pytest.raises(NotFound):
        shared_register.key(admin, of=uuid4())


def test_nobody_makes_a_key_with_more_power_than_their_own(shared_register: Register) -> None:
    first, _ = shared_register.client()
    reader = shared_register.credential(shared_register.key(first, scope="read")[1])
    with pytest.raises(Forbidden):
        shared_register.key(reader, scope="read")
    ends_at = now() + SOON
    brief = shared_register.credential(shared_register.key(first, expires_at=ends_at)[1])
    for later in (None, ends_at + SOON):
        with pytest.raises(Forbidden):
            shared_register.key(brief, expires_at=later)
    shared_register.key(brief, expires_at=brief.key.expires_at)
    admin, _ = shared_register.client("admin")
    guest = shared_register.credential(shared_register.key(admin, expires_at=ends_at)[1])
    with pytest.raises(Forbidden):
        shared_register.key(guest, of=admin.client.id)
    shared_register.key(guest, of=first.client.id)


def test_a_disabled_client_is_refused_until_it_is_enabled(shared_register: Register) -> None:
    first, secret = shared_register.client()
    key, _ = shared_register.key(first)
    shared_register.revoke(first, key.id)
    for _ in range(2):
        shared_register.disable(first.client.id)
    assert shared_register.find(secret) is None
    for _ in range(2):
        shared_register.enable(first.client.id)
    assert shared_register.credential(secret) == first
    for change in (shared_register.disable, shared_register.enable):
        with pytest.raises(NotFound):
            change(uuid4())


def test_the_last_admin_can_neither_be_disabled_nor_lose_its_last_key(register: Register) -> None:
    admin, _ = register.client("admin")
    register.key(admin, scope="read")
    with pytest.raises(InvalidState):
        register.disable(admin.client.id)
    with pytest.raises(InvalidState):
        register.revoke(admin, admin.key.id)
    key, secret = register.key(admin)
    register.revoke(admin, admin.key.id)
    other, _ = register.client("admin")
    register.disable(other.client.id)
    with pytest.raises(InvalidState):
        register.disable(admin.client.id)
    assert register.credential(secret).key == key


def test_of_two_admins_who_disable_each_other_one_is_left(register: Register) -> None:
    one, two = register.client("admin")[0], register.client("admin")[0]
    answers = second_waits_for_first(
        register.engine,
        lambda connection: _try_disable(connection, one),
        lambda connection: _try_disable(connection, two),
    )
    assert answers == ("disabled", "refused")


def test_of_two_who_take_the_last_keys_of_the_last_admin_one_fails(register: Register) -> None:
    admin, _ = register.client("admin")
    key, _ = register.key(admin)
    answers = second_waits_for_first(
        register.engine,
        lambda connection: _try_revoke(connection, admin, admin.key.id),
        lambda connection: _try_revoke(connection, admin, key.id),
    )
    assert answers == ("revoked", "refused")


def _try_disable(connection: Connection, credential: Credential) -> str:
    try:
        disable_client(connection, credential.client.id)
    except InvalidState:
        return "refused"
    return "disabled"


def _try_revoke(connection: Connection, by: Credential, key_id: UUID) -> str:
    try:
        revoke_key(connection, by.client.id, key_id, by=by)
    except InvalidState:
        return "refused"
    return "revoked"


def test_a_wallet_is_made_while_its_owner_gets_a_key(shared_register: Register) -> None:
    first, _ = shared_register.client()
    statement = (
        "INSERT INTO wallets (id, owner_id, asset, kind)"
        " VALUES (gen_random_uuid(), :owner, 'USD', 'customer')"
    )
    with transaction(shared_register.engine) as connection:
        create_key(connection, first.client.id, by=first, name=None, scope="read", expires_at=None)
        shared_register.run(f"SET LOCAL lock_timeout = 500; {statement}", owner=first.client.id)
