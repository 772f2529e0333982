"""Restored copies: told apart by what the database itself says of its acceptance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from ledger.errors import Refused, Replaced
from ledger.polling.eras import begin_era_if_accepted
from ledger.postgres.database import autocommit, build_engine, probe
from ledger.postgres.succession import Succession
from stack.servers.own import Servers
from testing.servers.databases import as_owner, copied_database, engine_on


@pytest.fixture
def copies(template_url: str) -> Iterator[dict[str, str]]:
    """Yield two databases of one cluster. They stand for two servers with the same disk image."""
    with copied_database(template_url) as old, copied_database(template_url) as new:
        with engine_on(new) as engine, as_owner(engine) as connection:
            assert begin_era_if_accepted(connection, is_accepted=True)
        yield {"old": old, "new": new}


@pytest.mark.parametrize("met", ["old new", "new", "new old new"])
def test_an_accepted_copy_replaces_the_one_it_was_made_from(
    copies: dict[str, str], met: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Succession()  # that of one URL, behind which the servers change places
    monkeypatch.setattr("ledger.postgres.failover.succession_of", lambda _url: shared)
    engines = {name: build_engine(url, application_name="test") for name, url in copies.items()}
    for name in met.split():
        try:
            probe(engines[name])
        except Replaced:
            assert name == "old"
    with pytest.raises(Replaced):
        probe(engines["old"])
    probe(engines["new"])
    for engine in engines.values():
        engine.dispose()


@pytest.mark.parametrize("function", ["pg_walfile_name(pg_lsn)", "pg_control_system()"])
def test_a_server_that_does_not_say_what_it_is_gets_named_as_the_cause(
    template_url: str, servers: Servers, function: str
) -> None:
    with copied_database(template_url) as url:
        password = make_url(servers.postgres().superuser_url).password
        address = make_url(url).set(
            drivername="postgresql+psycopg2", username="postgres", password=password
        )
        superuser = create_engine(address)
        with superuser.begin() as connection:
            connection.execute(text(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
        superuser.dispose()
        engine = build_engine(url, application_name="test")
        with pytest.raises(Refused, match="pg_walfile_name"), autocommit(engine):
            pass
        engine.dispose()
