"""Keys beside version 1.0, which knows one key per client, in clients.key_hash."""

from __future__ import annotations

from ledger.keys.bootstrap import set_admin_key
from testing.servers.databases import as_owner
from tests.integration.keys.register import Register

ITS_INSERT = (
    "INSERT INTO clients (id, name, scope, rate_limit, key_hash) VALUES"
    " (gen_random_uuid(), 'x', :scope, 'none', sha256(convert_to(:key, 'UTF8')))"
    " ON CONFLICT DO NOTHING"
)
ITS_REPLACEMENT = (
    "UPDATE clients SET key_hash = sha256(convert_to(:new, 'UTF8'))"
    " WHERE key_hash = sha256(convert_to(:old, 'UTF8'))"
)


def test_a_client_that_it_makes_is_known_to_this_one(shared_register: Register) -> None:
    shared_register.run(ITS_INSERT, scope="client", key="made by 1.0")
    assert shared_register.credential("made by 1.0").key.scope == "write"


def test_it_knows_the_first_key_of_a_client_and_not_when_it_has_ended(
    shared_register: Register,
) -> None:
    first, secret = shared_register.client()
    assert shared_register.is_known_to_version_1_0(secret)
    shared_register.disable(first.client.id)
    assert not shared_register.is_known_to_version_1_0(secret)
    shared_register.enable(first.client.id)
    assert shared_register.is_known_to_version_1_0(secret)
    _, reading = shared_register.key(first, scope="read")
    _, second = shared_register.key(first)
    shared_register.revoke(first, first.key.id)
    assert not shared_register.is_known_to_version_1_0(secret)
    assert not shared_register.is_known_to_version_1_0(reading)  # to it, every key may write
    assert shared_register.is_known_to_version_1_0(second)


def test_a_disabled_client_stays_unknown_to_it_when_a_key_of_it_ends(
    shared_register: Register,
) -> None:
    first, _ = shared_register.client()
    admin, _ = shared_register.client("admin")
    _, second = shared_register.key(first)
    shared_register.disable(first.client.id)
    shared_register.revoke(admin, first.key.id, of=first.client.id)
    assert not shared_register.is_known_to_version_1_0(second)


def test_a_key_that_its_operators_replace_ends_for_this_one_too(
    shared_register: Register,
) -> None:
    first, secret = shared_register.client()
    key, second = shared_register.key(first)
    shared_register.run(ITS_REPLACEMENT, old=secret, new="anything")
    assert shared_register.find(secret) is None
    assert shared_register.credential(second).key == key


def test_its_start_with_a_replaced_admin_key_makes_no_admin(register: Register) -> None:
    for key in ("old", "new"):
        with as_owner(register.engine) as connection:
            set_admin_key(connection, key, is_generated=False)
    assert register.is_known_to_version_1_0("new")
    register.run(ITS_INSERT, scope="admin", key="old")
    assert not register.is_known_to_version_1_0("old")
    assert register.find("old") is None
    assert register.run("SELECT count(*) FROM clients") == 1
