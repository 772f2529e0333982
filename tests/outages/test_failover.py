"""Database failover: the standby replaces the primary, dead or alive, and no money is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import redis

from ledger.errors import Unavailable
from ledger.postgres.database import build_engine, probe
from stack.servers.own import Servers
from stack.servers.ports import free_port
from stack.servers.postgres import OWNER, Postgres
from testing.installation import Installation, running_installation
from testing.load import load_on
from testing.servers.breakable import Breakable, breakable
from testing.servers.brokers import RedisBroker
from testing.servers.shared import migrate
from testing.servers.standby import Standby, make_synchronous, read_write_url, run, standby_of
from testing.worker_processes import MONEY, eventually

pytestmark = pytest.mark.chaos


def test_a_primary_whose_standby_is_gone_counts_as_away(
    own_servers: tuple[Servers, Path], redis_broker: RedisBroker, cache_url: str
) -> None:
    """It answers every query, but no commit completes."""
    servers, folder = own_servers
    redis_broker.empty()
    primary = replace(servers.postgres(), name="alone", port=free_port())
    with breakable(primary, folder / "alone.log") as database:
        migrate(primary.url)
        with running_installation(
            database, primary.url, redis_broker, cache_url, folder
        ) as everything:
            run(primary, "ALTER SYSTEM SET synchronous_standby_names = 'gone'")
            run(primary, "SELECT pg_reload_conf()")
            eventually(everything.is_away)
            answers = [everything.client.submit(everything.body()) for _ in range(20)]
            assert {answer.json()["state"] for answer in answers} == {"buffered"}
            # Count only probes: a task that was under way may reach its commit only now.
            waiting = (
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event = 'SyncRep' AND application_name = 'truepenny-probe'"
            )
            eventually(lambda: run(primary, waiting) == 1)
            time.sleep(3)  # enough time for probes to pile up, if they did
            assert run(primary, waiting) == 1
            run(primary, "ALTER SYSTEM RESET synchronous_standby_names")
            run(primary, "SELECT pg_reload_conf()")
            everything.settles([answer.json()["id"] for answer in answers])


def test_a_promoted_standby_goes_on_with_every_accepted_transfer(
    own_servers: tuple[Servers, Path], redis_broker: RedisBroker, cache_url: str
) -> None:
    servers, folder = own_servers
    redis_broker.empty()
    primary = servers.postgres()
    with breakable(primary, folder / "primary.log") as killed:
        migrate(primary.url)
        standby = standby_of(primary)
        with breakable(standby, folder / "standby.log"):
            make_synchronous(primary, standby)
            url = read_write_url(primary, standby)
            with running_installation(killed, url, redis_broker, cache_url, folder) as everything:
                with load_on(everything.client, everything.body()) as load:
                    load.goes_on(50)
                    killed.kill()
                    load.goes_on(50)  # with no database at all
                    standby.promote()
                    eventually(everything.is_back)
                    load.goes_on(50)
                assert not load.refused, load.refused[0].text
                everything.engine.dispose()
                everything.settles([str(id) for id in load.accepted])


@dataclass(frozen=True)
class Pair:
    """A primary, which comes first in the URL, and its standby."""

    old: Postgres
    new: Standby
    old_process: Breakable
    everything: Installation
    cache_url: str

    def forget_all(self) -> None:
        """Empty what processes remember on broker and cache."""
        self.everything.broker.empty()
        redis.Redis.from_url(self.cache_url).flushall()

    def written_to(self, server: Postgres) -> tuple[object, ...]:
        """Return how many rows a server has in the tables that transfers go through."""
        tables = ("transfers", "unfinished", "postings", "outcomes", "events")
        counts = (f"SELECT count(*) FROM {table}" for table in tables)  # noqa: S608 - constants
        return tuple(run(server, count, database=OWNER) for count in counts)

    def follow(self) -> None:
        """Have the connections of the test itself lead to the promoted server."""
        url = self.everything.environment["DATABASE_URL"]
        probing = build_engine(url, application_name="test", pool_size=0, statement_timeout_s=1)

        def is_found() -> bool:
            with suppress(Unavailable):
                probe(probing, compare=lambda _: None)
                return True
            return False

        eventually(is_found)


@contextmanager
def pair_of(
    own: tuple[Servers, Path],
    broker: RedisBroker,
    cache_url: str,
    *,
    name: str,
    is_synchronous: bool,
) -> Iterator[Pair]:
    servers, folder = own
    broker.empty()
    redis.Redis.from_url(cache_url).flushall()
    old = replace(servers.postgres(), name=name, port=free_port())
    folder = folder / f"{name}-files"
    folder.mkdir(mode=0o711)
    with breakable(old, folder / "old.log") as process:
        migrate(old.url)
        new = standby_of(old)
        with breakable(new, folder / "new.log"):
            if is_synchronous:
                make_synchronous(old, new)
            url = read_write_url(old, new)
            with running_installation(process, url, broker, cache_url, folder) as everything:
                yield Pair(old, new, process, everything, cache_url)


def test_commits_in_doubt_on_an_old_primary_that_lives_end_on_the_promoted_server(
    own_servers: tuple[Servers, Path], redis_broker: RedisBroker, cache_url: str
) -> None:
    """It answers every query, and no commit completes, because its standby has been promoted."""
    with pair_of(own_servers, redis_broker, cache_url, name="hanging", is_synchronous=True) as pair:
        everything = pair.everything
        with load_on(everything.client, everything.body()) as load:
            load.goes_on(50)
            pair.new.promote()
            load.goes_on(50)
            eventually(everything.is_back)
            load.goes_on(50)
        assert not load.refused, load.refused[0].text
        pair.follow()
        everything.settles([str(id) for id in load.accepted])
        # A process that starts now, and is told by nobody.
        pair.forget_all()
        with everything.another_api("late") as late:
            answer = late.submit(everything.body(), prefer="wait=10")
            assert answer.status_code == 201, answer.text
            everything.settles([answer.json()["id"]])


def test_an_old_primary_that_takes_writes_is_left_by_all_and_not_used_when_it_comes_back(
    own_servers: tuple[Servers, Path], redis_broker: RedisBroker, cache_url: str
) -> None:
    """Replication is asynchronous: the old primary confirms every commit."""
    with pair_of(own_servers, redis_broker, cache_url, name="split", is_synchronous=False) as pair:
        everything = pair.everything
        with load_on(everything.client, everything.body()) as load:
            load.goes_on(50)
        everything.settles([str(id) for id in load.accepted])
        pair.new.promote()
        pair.follow()
        eventually(lambda: have_all_seen(everything, timeline=2))
        before = pair.written_to(pair.old)
        with load_on(everything.client, everything.body()) as load:
            load.goes_on(100)
        assert not load.refused
        everything.settles([str(id) for id in load.accepted])
        assert pair.written_to(pair.old) == before

        pair.old_process.kill()
        pair.old_process.start()
        pair.forget_all()
        everything.workers.ready(MONEY)
        with (
            everything.another_api("after") as after,
            load_on(after, everything.body()) as load,
        ):
            load.goes_on(100)
        assert not load.refused
        everything.settles([str(id) for id in load.accepted])
        assert pair.written_to(pair.old) == before


def have_all_seen(everything: Installation, *, timeline: int) -> bool:
    """Return whether both API processes and each worker have seen a primary of this timeline."""
    workers = [each.log for each in everything.workers.started if not each.is_beat]
    expected = {everything.folder / "api.log": 2} | dict.fromkeys(workers, 1)
    return all(
        sum(
            "database_primary_seen" in line and f'"timeline": {timeline}' in line
            for line in log.read_text().splitlines()
        )
        >= count
        for log, count in expected.items()
    )
