"""PgBouncer in transaction mode, as Debian packages it, before a database of tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from sqlalchemy.engine import URL, make_url

from stack.servers.home import Home
from stack.servers.own import Servers
from stack.servers.ports import LOOPBACK, free_port
from stack.servers.server import running
from testing.programs import PGBOUNCER

_CONFIGURATION = """\
[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
server_login_retry = 1
"""


@dataclass(frozen=True)
class PgBouncer:
    """One pooler: `url` leads through it to the database that `behind` names.

    options: more lines of its configuration.
    """

    home: Home
    behind: URL
    port: int
    options: str = ""
    stop_signal: signal.Signals = signal.SIGINT

    @property
    def name(self) -> str:
        return f"pgbouncer-{self.port}"

    @property
    def command(self) -> tuple[str, ...]:
        return (str(PGBOUNCER.path()), str(self.home.data / self._configuration))

    @property
    def url(self) -> str:
        return self.behind.set(host=LOOPBACK, port=self.port).render_as_string(hide_password=False)

    def prepare(self) -> None:
        """Write the configuration, and the user whom it lets in."""
        users = f"{self.name}.users"
        known = f'"{self.behind.username}" "{self.behind.password}"\n'
        self.home.write_configuration(users, known)
        text = _CONFIGURATION.format(
            server=self.behind, host=LOOPBACK, port=self.port, users=self.home.data / users
        )
        self.home.write_configuration(self._configuration, text + self.options + "\n")

    def probe(self) -> None:
        """Connect. Raises: ConnectionError: when it does not answer (yet)."""
        try:
            psycopg2.connect(self.url, connect_timeout=3).close()
        except psycopg2.OperationalError as error:
            raise ConnectionError(str(error)) from error

    @property
    def _configuration(self) -> str:
        return f"{self.name}.ini"


@contextmanager
def pooled(
    database_url: str, servers: Servers, folder: Path, *, options: str = ""
) -> Iterator[str]:
    """Run a PgBouncer before the database. Yields: the URL that leads through it."""
    pooler = PgBouncer(servers.home, make_url(database_url), free_port(), options)
    with running(pooler, log=folder / f"{pooler.name}.log"):
        yield pooler.url
