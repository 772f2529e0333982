"""Standby: a second PostgreSQL that replicates a primary synchronously and can replace it."""

from __future__ import annotations

import subprocess
from contextlib import closing
from dataclasses import dataclass

import psycopg2

from stack.errors import StackError
from stack.servers.ports import free_port
from stack.servers.postgres import Postgres
from stack.servers.server import launch_command
from testing.worker_processes import eventually


@dataclass(frozen=True)
class Standby(Postgres):
    """A copy of `primary`, made when first prepared. The primary must be running then."""

    primary: Postgres | None = None

    def prepare(self) -> None:
        """Copy the primary, and write the configuration."""
        if not self.folder.exists():
            self._copy_primary()
        super().prepare()

    def probe(self) -> None:
        """Connect, and nothing else: a standby takes no writes.

        Raises: ConnectionError: when the server does not answer (yet).
        """
        try:
            psycopg2.connect(self.superuser_url, connect_timeout=3).close()
        except psycopg2.OperationalError as error:
            raise ConnectionError(str(error)) from error

    def promote(self) -> None:
        """Replace the primary: from now on this server takes writes, without a standby."""
        run(self, "SELECT pg_promote()")

    def _copy_primary(self) -> None:
        assert self.primary is not None
        folder = self.home.own_folder(self.name)
        copy = (
            *(str(self.home.postgres_binaries / "pg_basebackup"), "--pgdata", str(folder)),
            *("--dbname", self.primary.superuser_url, "--write-recovery-conf"),
            *("--wal-method", "stream", "--checkpoint", "fast"),
        )
        user = () if self.home.account is None else ("--user", str(self.home.account.uid))
        done = subprocess.run(
            launch_command(copy, *user), cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StackError(f"pg_basebackup failed: {done.stderr.strip()}")


def standby_of(primary: Postgres) -> Standby:
    """Return a standby that is not prepared yet, with the primary's passwords."""
    return Standby(
        home=primary.home,
        port=free_port(),
        password=primary.password,
        owner_password=primary.owner_password,
        superuser_password=primary.superuser_password,
        name=f"{primary.name}-standby",
        primary=primary,
    )


def make_synchronous(primary: Postgres, standby: Standby) -> None:
    """Make the primary confirm a commit only when the standby has it too."""
    run(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    run(primary, "SELECT pg_reload_conf()")
    eventually(lambda: run(primary, "SELECT sync_state FROM pg_stat_replication") == "sync")
    assert standby.folder.exists()


def read_write_url(primary: Postgres, standby: Standby) -> str:
    """Return a URL that leads to whichever of the two takes writes."""
    head, _, tail = primary.url.rpartition("@")
    host, _, name = tail.partition("/")
    hosts = f"{host},{host.partition(':')[0]}:{standby.port}"
    return f"{head}@{hosts}/{name}?target_session_attrs=read-write"


def run(server: Postgres, statement: str, *, database: str = "postgres") -> object:
    """Run a statement as the superuser. Returns: the first value, if there is one."""
    url = server.superuser_url
    with closing(psycopg2.connect(url, dbname=database, connect_timeout=3)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
    return row and row[0]
