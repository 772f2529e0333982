"""The command of `make psql`: opens a terminal on the database of a running `make up`.

It uses DATABASE_URL if that is given, and otherwise the address that `make up` keeps in DATA_DIR.
If psql is not installed, a small loop reads SQL, one statement per line.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from settings import SettingsError, read_secrets
from stack.errors import StackError
from stack.servers.kept_values import KeptValues
from stack.servers.postgres import owner_url

ROOT = Path(__file__).resolve().parent.parent
_PROMPT = "truepenny=> "


def database_url(environment: Mapping[str, str]) -> str:
    """Return the address of the database.

    Raises: StackError: when `make up` has not run with this DATA_DIR, or a setting is malformed.
    """
    try:
        given = read_secrets(environment).get("DATABASE_URL", "").strip()
    except SettingsError as error:
        raise StackError(str(error)) from error
    if given:
        scheme, _, rest = given.partition("://")
        return f"{scheme.partition('+')[0]}://{rest}"  # SQLAlchemy's URLs may name a driver
    data = Path(environment.get("DATA_DIR") or ROOT / ".data")
    kept_values = KeptValues(data / "secrets")
    port, password = kept_values.read("postgres-port"), kept_values.read("postgres-password")
    if port is None or password is None:
        raise StackError(f"there is no database in {data}: `make up` creates one")
    return owner_url(port=int(port), password=password)


def main() -> int:
    """Become psql, or read SQL. Returns: the exit code."""
    try:
        url = database_url(os.environ)
        parse_dsn(url)
    except StackError as error:
        print(f"truepenny: {error}", file=sys.stderr)
        return 1
    except psycopg2.ProgrammingError:  # its text may quote a password
        print("truepenny: DATABASE_URL cannot be read: an option in it is wrong", file=sys.stderr)
        return 1
    program = shutil.which("psql")
    if program is not None:
        become(program, url)
    try:
        with closing(psycopg2.connect(url, connect_timeout=3)) as connection:
            connection.autocommit = True
            _read(connection)
    except psycopg2.OperationalError as error:
        print(f"truepenny: the database does not answer: {error}", file=sys.stderr)
        return 1
    return 0


def become(program: str, url: str) -> NoReturn:
    """Become psql, which gets the password where no other user of the machine can read it."""
    options = parse_dsn(url)
    environment = dict(os.environ)
    if password := options.pop("password", ""):
        environment["PGPASSWORD"] = password
    arguments = [program, make_dsn(**options), *sys.argv[1:]]
    os.execve(program, arguments, environment)  # noqa: S606 - psql is what was asked for


def _read(connection: Any) -> None:
    """Run each line of the input."""
    if sys.stdin.isatty():
        print("psql is not installed. Type one SQL statement per line; Ctrl-D ends.")
    while True:
        try:
            line = input(_PROMPT if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if line:
            _run(connection, line)


def _run(connection: Any, statement: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            if cursor.description is not None:
                print("\t".join(column.name for column in cursor.description))
                for row in cursor:
                    print("\t".join("" if value is None else str(value) for value in row))
            print(cursor.statusmessage)
    except psycopg2.OperationalError:
        raise
    except psycopg2.Error as error:
        print(error, file=sys.stderr, end="")


if __name__ == "__main__":
    sys.exit(main())
