"""`make psql` on the database of a DATA_DIR or of a given URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.psql import database_url as found_url
from stack.servers.server import running
from testing.servers.own_servers import own_servers
from testing.servers.shared import ROOT


def psql(statements: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it where PATH has no psql."""
    return subprocess.run(
        [sys.executable, "-m", "stack.psql"],
        cwd=ROOT,
        env={"PATH": "/nonexistent", **environment},
        input=statements,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_finds_the_database_of_a_data_folder(servers_folder: Path) -> None:
    servers = own_servers(servers_folder)
    postgres, data = servers.postgres(), servers.kept_values.folder.parent
    statements = "SELECT 1 AS one, NULL AS nothing\nSELECT wrong\nSELECT current_user\n"
    with running(postgres, log=data / "postgres.log"):
        done = psql(statements, DATA_DIR=str(data))
    assert done.returncode == 0
    answers = ["one\tnothing", "1\t", "SELECT 1", "current_user", "truepenny", "SELECT 1"]
    assert done.stdout.splitlines() == answers
    assert 'column "wrong" does not exist' in done.stderr


def test_it_prefers_a_given_url(database_url: str, tmp_path: Path) -> None:
    given = database_url.replace("postgresql://", "postgresql+psycopg2://")
    done = psql("SELECT 1 AS one\n", DATABASE_URL=given, DATA_DIR=str(tmp_path))
    assert done.stdout.splitlines() == ["one", "1", "SELECT 1"]


def test_without_any_database_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="`make up` creates one"):
        found_url({"DATA_DIR": str(tmp_path)})
    done = psql("", DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_database_that_does_not_run_is_one_clear_line() -> None:
    done = psql("SELECT 1\n", DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert done.returncode == 1
    assert done.stderr.startswith("truepenny: the database does not answer: ")
