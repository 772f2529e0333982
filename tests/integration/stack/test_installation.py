"""The record of which installation a database belongs to, and starts that it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger.postgres.database import autocommit
from ledger.postgres.installation import record_installation, refuse_other_installation
from runtime.commands import app_commands
from settings import SettingsError
from stack.servers.ports import free_port
from testing.identity import IDENTITY
from testing.programs import ROOT
from testing.servers.databases import as_owner
from testing.servers.throwaway import as_owner as as_owner_url

OURS = IDENTITY["INSTALLATION_ID"]
START_WITHIN_S = 60
MIGRATIONS = (sys.executable, "-m", "migrations")
PROGRAMS = {
    "migrations": MIGRATIONS,
    "a pod that waits for the migrations": (*MIGRATIONS, "--wait"),
    "api": app_commands()["api"],
    "money": app_commands()["money"],
    "scans": app_commands()["scans"],
}


def test_the_first_migration_names_the_database_and_no_other_changes_that(engine: Engine) -> None:
    with as_owner(engine) as connection:
        record_installation(connection, OURS)  # again
    with pytest.raises(SettingsError), as_owner(engine) as connection:
        record_installation(connection, "another")
    with autocommit(engine) as connection:
        assert connection.scalars(text("SELECT id FROM installation")).all() == [OURS]


def test_a_database_without_the_record_refuses_nobody(
    engine: Engine, own_database_url: str
) -> None:
    with as_owner(engine) as connection:
        connection.execute(text("DELETE FROM installation"))
    refuse_other_installation(own_database_url, "another")
    with as_owner(engine) as connection:
        connection.execute(text("DROP TABLE installation"))  # as before the migration
    refuse_other_installation(own_database_url, "another")


def test_a_database_that_is_away_refuses_nobody() -> None:
    refuse_other_installation("postgresql://nobody@127.0.0.1:1/none", "another")


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_starts_on_the_database_of_another_installation(
    own_database_url: str, broker_url: str, cache_url: str, tmp_path: Path, program: str
) -> None:
    environment = {
        **os.environ,
        **IDENTITY,
        "INSTALLATION_ID": "another",
        "DATABASE_URL": own_database_url,
        "MIGRATIONS_DATABASE_URL": as_owner_url(own_database_url),
        "BROKER_URL": broker_url,
        "CACHE_URL": cache_url,
        "DATA_DIR": str(tmp_path),
        "PORT": str(free_port()),
    }
    done = subprocess.run(
        PROGRAMS[program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_WITHIN_S,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"{program if program in app_commands() else 'migrations'}: INSTALLATION_ID is 'another', "
        f"but the database of DATABASE_URL belongs to the installation {OURS!r}"
    )
    assert f"set INSTALLATION_ID={OURS}" in done.stderr
    assert "Traceback" not in done.stderr
