"""Schema version: waiting for migrations, and an older version on a newer schema."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from queue import Queue

import pytest
from sqlalchemy import Engine, text

from ledger.errors import Unavailable, Unreachable
from ledger.postgres.database import autocommit, build_engine
from migrations.__main__ import _parser, _retry_while_away, upgrade
from migrations.schema_version import SchemaVersion, schema_version, wait_until_migrated
from testing.identity import IDENTITY
from testing.servers.databases import as_owner, empty_database, owner_engine
from testing.servers.shared import ROOT

NOWHERE = "postgresql://127.0.0.1:1/none"

ID = IDENTITY["INSTALLATION_ID"]


@pytest.fixture
def empty_engine(template_url: str) -> Iterator[Engine]:
    """Make a database without any migration."""
    with empty_database(template_url) as engine:
        yield engine


def version(engine: Engine) -> SchemaVersion:
    with autocommit(engine) as connection:
        return schema_version(connection)


def pretend_revision(engine: Engine, revision: str) -> None:
    with as_owner(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})


def test_waiting_ends_when_the_migrations_have_run_and_not_before(
    empty_engine: Engine,
) -> None:
    said: Queue[str] = Queue()
    waiting = threading.Thread(
        target=wait_until_migrated,
        args=(empty_engine,),
        kwargs={"say": said.put, "look_every_s": 0.02},
        daemon=True,
    )
    waiting.start()
    assert said.get(timeout=30) == SchemaVersion.BEHIND.value
    assert waiting.is_alive()
    assert upgrade(empty_engine, installation_id=ID, admin_api_key=None) is SchemaVersion.CURRENT
    waiting.join(30)
    assert not waiting.is_alive()
    assert said.get(timeout=1) == SchemaVersion.CURRENT.value


def test_a_schema_of_an_earlier_version_is_behind(engine: Engine) -> None:
    assert version(engine) is SchemaVersion.CURRENT
    pretend_revision(engine, "0001")
    assert version(engine) is SchemaVersion.BEHIND


def test_a_schema_of_a_later_version_is_left_as_it_is_and_waited_for_by_nobody(
    engine: Engine,
) -> None:
    pretend_revision(engine, "9999")
    with owner_engine(engine) as owner:
        found = upgrade(owner, installation_id=ID, admin_api_key="the-key-of-an-admin")
    assert found is SchemaVersion.AHEAD
    said: list[str] = []
    wait_until_migrated(engine, say=said.append)
    assert said == [SchemaVersion.AHEAD.value]
    with autocommit(engine) as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        )
        admins = text("SELECT count(*) FROM clients WHERE scope = 'admin'")
        assert connection.execute(admins).scalar() == 1


def test_a_database_that_is_away_holds_up_nobody_for_long() -> None:
    said: list[str] = []
    wait_until_migrated(
        build_engine(NOWHERE, application_name="test", pool_size=0),
        say=said.append,
        away_after_s=0.1,
        look_every_s=0.01,
    )
    assert said == [
        "the database does not answer",
        "the database is away; starting without a check of its schema",
    ]


def test_the_command_waits_when_asked_to(own_database_url: str) -> None:
    environment = {
        **os.environ,
        **IDENTITY,
        "DATABASE_URL": own_database_url,
        "BROKER_URL": "redis://nowhere",
        "CACHE_URL": "redis://nowhere",
    }
    command = [sys.executable, "-m", "migrations", "--wait"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout == "migrations: the database is up to date\n"


def test_migrating_is_retried_only_while_the_database_is_away_and_time_is_left() -> None:
    answers: Iterator[Exception | SchemaVersion] = iter(
        [Unreachable("away"), Unavailable("busy"), SchemaVersion.CURRENT]
    )

    def migrate() -> SchemaVersion:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(Unreachable):
        _retry_while_away(migrate, patience_s=0)
    assert _retry_while_away(migrate, patience_s=60) is SchemaVersion.CURRENT


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "long"])
def test_an_unlimited_waiting_time_is_refused(given: str) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser().parse_args([f"--patience={given}"])
    assert ended.value.code == 2
