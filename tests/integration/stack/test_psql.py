"""`make psql` on the database of a DATA_DIR or of a given URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.psql import database_url as found_url
from stack.servers.kept_values import KeptValues
from stack.servers.server import running
from testing.servers.own_servers import own_servers
from testing.servers.shared import ROOT


def psql(
    statements: str, *, path: str = "/nonexistent", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run it where PATH has no psql, unless another path is given."""
    return subprocess.run(
        [sys.executable, "-m", "stack.psql"],
        cwd=ROOT,
        env={"PATH": path, **environment},
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


def test_it_reads_the_address_from_a_file_or_passes_over_a_blank_one_as_make_up_does(
    tmp_path: Path,
) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://in-a-file/money\n")
    assert found_url({"DATABASE_URL_FILE": str(file)}) == "postgresql://in-a-file/money"
    keep = KeptValues(tmp_path / "secrets")
    keep.write("postgres-port", "1")
    keep.write("postgres-password", "hidden")
    assert ":1/" in found_url({"DATABASE_URL": " ", "DATA_DIR": str(tmp_path)})
    with pytest.raises(StackError, match="DATABASE_URL_FILE"):
        found_url({"DATABASE_URL_FILE": str(tmp_path / "none"), "DATA_DIR": str(tmp_path)})


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


def test_the_password_is_not_on_the_command_line_which_every_user_of_the_machine_can_read(
    tmp_path: Path,
) -> None:
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$*" "$PGPASSWORD"\n')
    program.chmod(0o755)
    given = "postgresql+psycopg2://ledger:hid%40den@one:1,two:2/money?application_name=me"
    done = psql("", path=str(tmp_path), DATABASE_URL=given)
    arguments, password = done.stdout.splitlines()
    assert password == "hid@den"
    assert "hid" not in arguments
    assert set(arguments.split()) == {
        *("user=ledger", "host=one,two", "port=1,2", "dbname=money", "application_name=me")
    }


def test_an_address_that_cannot_be_read_is_one_clear_line_without_it() -> None:
    done = psql("SELECT 1\n", DATABASE_URL="postgresql://ledger:hidden@db/money?wrong=1")
    assert done.returncode == 1
    assert done.stderr == "truepenny: DATABASE_URL cannot be read: an option in it is wrong\n"
