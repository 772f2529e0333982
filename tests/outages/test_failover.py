"""Database failover: the standby replaces a dead primary, and no accepted transfer is lost."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from stack.servers.own import Servers
from stack.servers.ports import free_port
from testing.installation import running_installation
from testing.load import load_on
from testing.servers.breakable import breakable
from testing.servers.brokers import RedisBroker
from testing.servers.shared import migrate
from testing.servers.standby import make_synchronous, read_write_url, run, standby_of
from testing.worker_processes import eventually

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
