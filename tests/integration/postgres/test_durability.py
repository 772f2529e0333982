"""Durable commits: sessions ask for them, and /health says when the server gives none."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger.postgres.database import autocommit, build_engine, probe
from monitoring.health.checks import database_check
from stack.servers.server import running
from testing.servers.databases import as_owner
from testing.servers.own_servers import own_servers
from testing.servers.shared import migrate
from testing.servers.standby import run
from testing.servers.throwaway import durable


@pytest.mark.parametrize(
    ("given", "in_force"),
    [("off", "on"), ("local", "on"), ("on", "on"), ("remote_write", "remote_write")],
)
def test_a_session_asks_for_durable_commits_where_its_role_has_weaker_ones(
    engine: Engine, own_database_url: str, given: str, in_force: str
) -> None:
    with as_owner(engine) as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = {given}"))
    session = build_engine(own_database_url, application_name="test")
    with autocommit(session) as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == in_force
    session.dispose()


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_health_is_degraded_while_a_crash_may_undo_commits(
    servers_folder: Path, setting: str
) -> None:
    servers = own_servers(servers_folder)
    postgres = durable(servers.postgres())
    with running(postgres, log=servers.home.data / "postgres.log"):
        migrate(postgres.url)
        engine = build_engine(postgres.url, application_name="test", pool_size=1)
        check = database_check(engine)
        probe(engine)
        assert (check().status, check().detail) == ("ok", "answers")
        run(postgres, f"ALTER SYSTEM SET {setting} = off")
        run(postgres, "SELECT pg_reload_conf()")
        with autocommit(engine) as connection:
            connection.execute(text("SELECT pg_sleep(0.5)"))
        found = check()
        assert (found.status, found.can_store) == ("degraded", True)
        assert found.detail.startswith(f"answers, but {setting} is off: ")
        engine.dispose()
