"""Database of a storm: one PostgreSQL, or a primary with a synchronous standby that replaces it.

After a failover the old primary becomes the standby of the new one, so the next failover goes back.
"""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import psycopg2

from stack.servers.home import Home
from stack.servers.ports import LOOPBACK
from stack.servers.postgres import Postgres
from testing.servers.breakable import Breakable
from testing.servers.standby import Standby, make_synchronous, run, standby_of
from testing.servers.throwaway import ThrowawayPostgres


class SmallPostgres(ThrowawayPostgres):
    """A PostgreSQL that keeps little of its log, for a small disk."""

    @property
    def command(self) -> tuple[str, ...]:
        return (*super().command, "-c", "max_wal_size=96MB", "-c", "min_wal_size=32MB")


def small(server: Postgres, disk: Path) -> SmallPostgres:
    """Return the same server with its data on another disk."""
    values = {each.name: getattr(server, each.name) for each in fields(server)}
    return SmallPostgres(**values | {"home": replace(server.home, data=disk)})


class Replicas:
    """The database servers of a storm. `process` is the one that takes writes."""

    def __init__(self, primary: Postgres, log: Path) -> None:
        self.primary = primary
        self.process = Breakable(primary, log)
        self.standby: Standby | None = None
        self._standby_process: Breakable | None = None
        self._log = log

    @property
    def is_synchronous(self) -> bool:
        """Return whether the standby has everything that was confirmed."""
        try:
            state = run(self.primary, "SELECT sync_state FROM pg_stat_replication")
        except (psycopg2.Error, OSError):
            return False
        return self.standby is not None and state == "sync"

    def add_standby(self, home: Home) -> None:
        """Start a standby there, and confirm commits from now on only when it has them."""
        self._follow(replace(standby_of(self.primary), home=home))

    def fail_over(self) -> None:
        """Put the standby in the place of the primary, which is dead, and follow it with that."""
        assert self.standby is not None
        assert self._standby_process is not None
        dead, promoted = self.primary, self.standby
        self.primary, self.process = promoted, self._standby_process
        promoted.promote()
        # What it copied asks for a standby, and there is none yet.
        run(promoted, "ALTER SYSTEM RESET synchronous_standby_names")
        run(promoted, "SELECT pg_reload_conf()")
        shutil.rmtree(dead.folder)
        values = {each.name: getattr(dead, each.name) for each in fields(Postgres)}
        self._follow(Standby(**values, primary=promoted))

    def start(self) -> None:
        """Start what does not run."""
        for process in self._processes():
            if not process.runs:
                process.start()

    def kill(self) -> None:
        """Kill all."""
        for process in self._processes():
            process.kill()

    def url(self, ports: dict[int, int] | None = None) -> str:
        """Return the application's URL. ports: where to connect instead of the servers' own."""
        servers = [self.primary, *([self.standby] if self.standby else [])]
        head, _, tail = self.primary.url.rpartition("@")
        name = tail.partition("/")[2]
        hosts = ",".join(
            f"{LOOPBACK}:{(ports or {}).get(each.port, each.port)}" for each in servers
        )
        only = "?target_session_attrs=read-write" if self.standby else ""
        return f"{head}@{hosts}/{name}{only}"

    def ports(self) -> list[int]:
        return [self.primary.port, *([self.standby.port] if self.standby else [])]

    def _processes(self) -> list[Breakable]:
        return [self.process, *([self._standby_process] if self._standby_process else [])]

    def _follow(self, standby: Standby) -> None:
        self.standby = standby
        self._standby_process = Breakable(standby, self._log)
        self._standby_process.start()
        make_synchronous(self.primary, standby)
