"""Servers with data that tests throw away: no write of theirs waits for the disk.

Tests kill processes, and what a process has written outlives it in the kernel. Only the end of
the whole machine would show the difference. Tests of `make up` run its own, durable servers.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from sqlalchemy.engine import make_url

from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from stack.servers.postgres import APPLICATION, OWNER, Postgres


class ThrowawayPostgres(Postgres):
    """A PostgreSQL that asks the kernel for no flush, where it would for each dropped database."""

    @property
    def command(self) -> tuple[str, ...]:
        return (*super().command, "-c", "fsync=off")


def durable(server: Postgres) -> Postgres:
    """Return the same server as `make up` starts it: with writes that wait for the disk."""
    return Postgres(**{each.name: getattr(server, each.name) for each in fields(server)})


class ThrowawayServers(Servers):
    """The servers of a stack, of which PostgreSQL is the one that flushes more than a commit."""

    def postgres(self) -> ThrowawayPostgres:
        durable = super().postgres()
        kept = {each.name: getattr(durable, each.name) for each in fields(durable)}
        # So that `as_owner` needs no other secret.
        return ThrowawayPostgres(**kept | {"password": durable.owner_password})


def as_owner(url: str) -> str:
    """Return the URL of a throwaway database for the role that owns it, as tests that meddle need.

    A database that is given (TEST_DATABASE_URL) has one role for all.
    """
    address = make_url(url)
    if address.username == APPLICATION:
        address = address.set(username=OWNER)
    return address.render_as_string(hide_password=False)


def throwaway_servers(folder: Path) -> Servers:
    """Return servers with ports and passwords of their own and data in `folder`, none started."""
    return ThrowawayServers(find_home(folder, say=print), KeptValues(folder / "secrets"))
