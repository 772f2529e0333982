"""Order of recording across a failover that loses commits: a poller misses nothing that is kept."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from ledger.errors import Invalid
from ledger.polling.eras import begin_era_if_accepted
from ledger.postgres.database import build_engine
from testing.bank import Bank
from testing.servers.breakable import breakable
from testing.servers.databases import as_owner, copied_database, engine_on
from testing.servers.own_servers import own_servers
from testing.servers.shared import migrate
from testing.servers.standby import run, standby_of
from testing.worker_processes import eventually
from tests.integration.polling.test_recorded_order import Poller, requests

STREAMS = "SELECT state FROM pg_stat_replication"


def test_what_is_recorded_after_a_failover_comes_after_what_it_has_lost(
    servers_folder: Path,
) -> None:
    """The new primary uses numbers of transactions again that a poller has read before."""
    servers = own_servers(servers_folder)
    old = servers.postgres()
    with ExitStack() as stack:
        stack.enter_context(breakable(old, servers.home.data / "old.log"))
        migrate(old.url)
        bank = Bank(build_engine(old.url, application_name="test"))
        new = standby_of(old)
        stack.enter_context(breakable(new, servers.home.data / "new.log"))
        eventually(lambda: run(old, STREAMS) == "streaming")
        poller = Poller(bank, bank.admin)
        kept = bank.accept(*requests(bank, 3))
        poller.sees(kept)
        written = run(old, "SELECT pg_current_wal_lsn()")
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
        eventually(lambda: run(new, replayed))
        run(new, "ALTER SYSTEM SET primary_conninfo = ''")
        run(new, "SELECT pg_reload_conf()")
        eventually(lambda: run(old, "SELECT count(*) FROM pg_stat_replication") == 0)
        lost = [id for _ in range(20) for id in bank.accept(*requests(bank, 1))]
        poller.sees([*kept, *lost])
        new.promote()
        poller.bank = promoted = Bank(build_engine(new.url, application_name="test"))
        later = promoted.accept(*requests(promoted, 2))
        poller.sees([*kept, *lost, *later])
        Poller(promoted, bank.admin).sees([*kept, *later])
        for each in (bank, promoted):
            each.engine.dispose()


def test_a_place_of_a_history_that_a_restore_has_cut_off_is_refused(template_url: str) -> None:
    with copied_database(template_url) as url, engine_on(url) as engine:
        bank = Bank(engine)
        kept = bank.accept(*requests(bank, 1))
        poller = Poller(bank, bank.admin)
        poller.sees(kept)
        engine.dispose()
        with copied_database(template_url, template=str(make_url(url).database)) as backup:
            accept_server(engine)
            later = Poller(bank, bank.admin)
            later.sees([*kept, *bank.accept(*requests(bank, 3))])
            with engine_on(backup) as restored:
                accept_server(restored)
                poller.bank = later.bank = other = Bank(restored)
                new = other.accept(*requests(other, 1))
                poller.sees([*kept, *new])
                with pytest.raises(Invalid, match="restored from a backup"):
                    later.poll()


def accept_server(engine: Engine) -> None:
    with as_owner(engine) as connection:
        assert begin_era_if_accepted(connection, is_accepted=True)
