"""Our own PostgreSQL: durable, on loopback, with password authentication only.

The superuser creates the database and two roles, which cannot change the server. The migrations
connect as the owner of the database, and the application as a role without rights of its own: the
migrations grant it what it needs.
"""

from __future__ import annotations

import pwd
import shutil
import signal
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
from psycopg2 import sql

from stack.errors import StackError
from stack.servers.home import Home
from stack.servers.os_account import Account
from stack.servers.ports import LOOPBACK
from stack.servers.server import launch_command

_SUPERUSER = "postgres"
OWNER = "truepenny"
APPLICATION = "truepenny_app"
_CONFIGURATION = """\
# Written by the stack at every start.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''      # clients connect over TCP; a socket would need a folder
max_connections = 100
password_encryption = 'scram-sha-256'

# What was acknowledged must not be lost. These are the defaults, stated so that they stay.
fsync = on
synchronous_commit = on
full_page_writes = on

# For a busy ledger on a small machine: fewer checkpoints, each with less to write.
shared_buffers = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
wal_compression = on
# Short transactions gain nothing from parallel plans, which need a large /dev/shm.
max_parallel_workers_per_gather = 0

timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
"""


def owner_url(*, port: int, password: str) -> str:
    """Return the URL of the database, for the role that owns it."""
    return f"postgresql://{OWNER}:{password}@{LOOPBACK}:{port}/{OWNER}"


@dataclass(frozen=True)
class Postgres:
    """One server, and its one database: `url` is the application's, `owner_url` the owner's."""

    home: Home
    port: int
    password: str = field(repr=False)
    owner_password: str = field(repr=False)
    superuser_password: str = field(repr=False)
    name: str = "postgres"
    stop_signal: signal.Signals = signal.SIGINT  # a fast shutdown: does not wait for clients

    @property
    def folder(self) -> Path:
        return self.home.data / self.name

    @property
    def command(self) -> tuple[str, ...]:
        binary = str(self.home.postgres_binaries / "postgres")
        return (binary, "-D", str(self.folder), "-c", f"config_file={self._configuration}")

    @property
    def url(self) -> str:
        credentials = f"{APPLICATION}:{self.password}"
        return f"postgresql://{credentials}@{LOOPBACK}:{self.port}/{OWNER}"

    @property
    def owner_url(self) -> str:
        return owner_url(port=self.port, password=self.owner_password)

    @property
    def superuser_url(self) -> str:
        credentials = f"{_SUPERUSER}:{self.superuser_password}"
        return f"postgresql://{credentials}@{LOOPBACK}:{self.port}/{_SUPERUSER}"

    def prepare(self) -> None:
        """Make the data folder if it is missing, and write the configuration.

        Raises: StackError: when `initdb` fails, or the data is of another major version.
        """
        if not self.folder.exists():
            self._initialise()
        self.home.own_folder(self.name)
        self._check_version()
        settings = _CONFIGURATION.format(host=LOOPBACK, port=self.port)
        self.home.write_configuration(self._configuration.name, settings)

    def probe(self) -> None:
        """Create the roles and the database if they are missing.

        Raises: ConnectionError: when the server does not answer (yet).
        """
        try:
            connection = psycopg2.connect(self.superuser_url, connect_timeout=3)
        except psycopg2.OperationalError as error:
            raise ConnectionError(str(error)) from error
        owner, application = sql.Identifier(OWNER), sql.Identifier(APPLICATION)
        with closing(connection):
            connection.autocommit = True  # CREATE DATABASE cannot run in a transaction
            with connection.cursor() as cursor:
                for name, password in (
                    (OWNER, self.owner_password),
                    (APPLICATION, self.password),
                ):
                    role = sql.Identifier(name)
                    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
                    if cursor.fetchone() is None:
                        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
                    cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD %s").format(role), [password])
                # So that an operator, as the owner, sees and ends the application's sessions.
                cursor.execute(sql.SQL("GRANT {} TO {}").format(application, owner))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [OWNER])
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(owner, owner))

    @property
    def _configuration(self) -> Path:
        return self.home.data / f"{self.name}.conf"

    def _initialise(self) -> None:
        """Run `initdb` in another folder and move the result, so that it is complete or absent."""
        aside = self.home.data / f"{self.name}.partial"
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(mode=0o700)
        password_file = aside / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.superuser_password)
        if self.home.account is not None:
            _nobody().own(aside)
        initdb = (
            *(str(self.home.postgres_binaries / "initdb"), "--pgdata", str(aside / "data")),
            *("--username", _SUPERUSER, "--pwfile", str(password_file)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        )
        user = () if self.home.account is None else ("--user", str(_nobody().uid))
        command = launch_command(initdb, *user)
        # In a process group of its own: Ctrl-C must not stop it halfway.
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", process_group=0
        )
        if result.returncode != 0:
            raise StackError(f"initdb failed: {result.stderr.strip()}")
        (aside / "data").rename(self.folder)
        shutil.rmtree(aside)

    def _check_version(self) -> None:
        written_by = (self.folder / "PG_VERSION").read_text().strip()
        binary = self.home.postgres_binaries / "postgres"
        ours = subprocess.check_output([binary, "--version"], text=True).split()[-1]
        if written_by != ours.partition(".")[0]:
            raise StackError(
                f"{self.folder} was written by PostgreSQL {written_by} and this is {ours}: "
                "convert it with pg_upgrade, or install the requirements it was made with"
            )


def _nobody() -> Account:
    """Return the account of `initdb`, the only program here that needs a user with a name."""
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError("initdb cannot run as root, and there is no user `nobody`") from error
    return Account(nobody.pw_uid, nobody.pw_uid)
