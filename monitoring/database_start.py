"""Database at the start: stops a program that the database refuses, warns of one that owns it."""

from __future__ import annotations

from ledger.errors import Refused, Unavailable
from ledger.postgres.database import autocommit, build_engine
from ledger.postgres.table_owner import OWNER_WARNING, owns_tables
from monitoring.health.database_breaker import PROBE_TIMEOUT_S
from monitoring.logs import get_logger

log = get_logger(__name__)


def check_database(database_url: str) -> None:
    """Connect once, before the program forks, and close the connection again.

    A database that is away stops nothing: a program starts without it.
    Raises: Refused: when the server takes no connection as it is asked for. Misconfigured: when
    it answers otherwise than this program needs.
    """
    engine = build_engine(
        database_url,
        application_name="truepenny-start",
        pool_size=0,
        statement_timeout_s=PROBE_TIMEOUT_S,
    )
    try:
        with autocommit(engine) as connection:
            is_owner = owns_tables(connection)
    except Refused:
        raise
    except Unavailable:
        return
    if is_owner:
        log.warning("application_owns_its_tables", detail=OWNER_WARNING)
