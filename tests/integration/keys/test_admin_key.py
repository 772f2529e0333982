"""Admin key: ADMIN_API_KEY and the one bootstrap admin, in every order of starts."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import text

from ledger.acceptance import Acceptance, accept
from ledger.keys.bootstrap import AdminKey, set_admin_key
from ledger.postgres.database import transaction
from migrations.__main__ import upgrade
from migrations.revisions import LOCK_KEY
from testing.bank import Bank
from testing.concurrent_transactions import wait_until_connected
from testing.identity import IDENTITY
from testing.servers.databases import as_owner, owner_engine
from testing.servers.shared import ROOT
from testing.servers.throwaway import as_owner as owner_url
from tests.integration.keys.register import Register


def given(register: Register, key: str, *, is_generated: bool = False) -> AdminKey:
    with as_owner(register.engine) as connection:  # as the migrations do
        return set_admin_key(connection, key, is_generated=is_generated)


def test_a_new_admin_key_replaces_that_of_the_one_first_admin(register: Register) -> None:
    assert given(register, "first") is AdminKey.MADE
    assert given(register, "first") is AdminKey.KNOWN
    before = register.credential("first")
    assert given(register, "second") is AdminKey.REPLACED
    assert register.find("first") is None
    assert register.credential("second").client == before.client
    revoked_at = register.run("SELECT revoked_at FROM api_keys WHERE revoked_at IS NOT NULL")
    assert abs(datetime.now(UTC) - revoked_at).total_seconds() < 60
    assert register.run("SELECT count(*) FROM clients") == 1


@pytest.mark.parametrize("is_generated", [False, True])
def test_a_key_once_replaced_never_comes_back(register: Register, *, is_generated: bool) -> None:
    for key in ("first", "second", "third"):
        given(register, key)
    for key in ("first", "second", "first"):
        assert given(register, key, is_generated=is_generated) is AdminKey.ENDED
        assert register.find(key) is None
    assert register.credential("third").client.is_admin


def test_processes_with_the_old_and_the_new_key_that_start_at_once_leave_the_new_one(
    register: Register, own_database_url: str
) -> None:
    given(register, "old")
    with transaction(register.engine) as connection:  # so that all surely meet
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        jobs = [migration(own_database_url, key) for key in ("old", "new", "old", "new", "old")]
        wait_until_connected(register.engine, "migrations", sessions=len(jobs))
    assert [job.wait(90) for job in jobs] == [0] * len(jobs)
    assert register.find("old") is None
    assert register.credential("new").client.is_admin
    assert register.run("SELECT count(*) FROM clients") == 1


def migration(database_url: str, admin_api_key: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **IDENTITY,
        "DATABASE_URL": database_url,
        "MIGRATIONS_DATABASE_URL": owner_url(database_url),
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
        "ADMIN_API_KEY": admin_api_key,
    }
    return subprocess.Popen([sys.executable, "-m", "migrations"], cwd=ROOT, env=environment)


def test_a_repeat_with_the_new_key_is_the_same_transfer(register: Register) -> None:
    bank = Bank(register.engine)
    source, destination = bank.wallet(kind="external"), bank.wallet()
    with as_owner(register.engine) as connection:
        connection.execute(text("UPDATE clients SET is_bootstrap = true WHERE scope = 'admin'"))
    answers = []
    for key in ("an admin's key", "another key"):
        given(register, key)
        client = register.credential(key).client
        with transaction(register.engine) as connection:
            request = bank.request(source, destination, 100, key="once", client=client)
            answers += accept(connection, [request])
    first, repeat = answers
    assert isinstance(first, Acceptance)
    assert isinstance(repeat, Acceptance)
    assert (first.transfer.id, first.replayed) == (repeat.transfer.id, False)
    assert repeat.replayed


def test_a_generated_key_makes_an_admin_only_where_there_is_none(register: Register) -> None:
    assert given(register, "generated", is_generated=True) is AdminKey.MADE
    assert given(register, "generated", is_generated=True) is AdminKey.KNOWN
    assert given(register, "generated elsewhere", is_generated=True) is AdminKey.NOT_NEEDED
    assert register.find("generated elsewhere") is None
    assert given(register, "chosen") is AdminKey.REPLACED
    assert register.find("generated") is None
    assert given(register, "generated", is_generated=True) is AdminKey.ENDED


def test_the_start_says_what_became_of_the_key(register: Register) -> None:
    said: list[str] = []
    start = partial(upgrade, installation_id=IDENTITY["INSTALLATION_ID"], say=said.append)
    with owner_engine(register.engine) as owner:
        for key in ("first", "second", "first"):
            start(owner, admin_api_key=key)
        start(owner, admin_api_key="made", first_admin_only=True)
    expected = (AdminKey.MADE, AdminKey.REPLACED, AdminKey.ENDED, AdminKey.NOT_NEEDED)
    assert [line.partition("Z: ")[2] for line in said] == [each.value for each in expected]
    assert "there is an admin already" in said[-1]
    assert "give a new one in ADMIN_API_KEY" in said[-1]


def test_keys_that_the_admin_made_itself_stay_when_its_first_one_is_replaced(
    register: Register,
) -> None:
    given(register, "first")
    key, secret = register.key(register.credential("first"))
    given(register, "second")
    assert register.credential(secret).key == key
    register.revoke(register.credential("second"), key.id)
    assert register.find(secret) is None


def test_the_admins_of_version_1_0_are_not_mixed_up(register: Register) -> None:
    """It made an admin for each value of ADMIN_API_KEY, and marked none of them."""
    for key in ("its first", "its second"):
        register.run(
            "INSERT INTO clients (id, name, scope, rate_limit, key_hash) VALUES"
            " (gen_random_uuid(), 'admin', 'admin', 'none', sha256(convert_to(:key, 'UTF8')))",
            key=key,
        )
    second = register.credential("its second")
    assert given(register, "its second") is AdminKey.KNOWN
    assert given(register, "its third") is AdminKey.REPLACED
    assert register.find("its second") is None
    assert register.credential("its third").client == second.client
    assert register.find("its first") is not None  # an admin of its own, until it is disabled


def test_a_new_key_of_a_database_of_version_1_0_replaces_the_oldest_admins(
    register: Register,
) -> None:
    admin, secret = register.client("admin")
    register.client("admin")
    assert given(register, "new") is AdminKey.REPLACED
    assert register.find(secret) is None
    assert register.credential("new").client == admin.client


def test_the_key_of_another_client_is_not_made_an_admins(register: Register) -> None:
    given(register, "first")
    _, secret = register.client()
    assert given(register, secret) is AdminKey.OF_A_CLIENT
    assert not register.credential(secret).client.is_admin
    assert register.find("first") is not None


def test_a_new_key_lets_a_disabled_first_admin_in_again_and_a_known_one_does_not(
    register: Register,
) -> None:
    given(register, "first")
    register.client("admin")
    register.disable(register.credential("first").client.id)
    assert given(register, "first") is AdminKey.ENDED
    assert register.find("first") is None
    assert given(register, "second") is AdminKey.REPLACED
    assert register.credential("second").client.is_admin
