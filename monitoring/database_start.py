"""Database at the start: stops a program that the database refuses, warns of one that owns it."""

from __future__ import annotations

from ledger.errors import Refused, Unavailable
from ledger.postgres.database import autocommit, build_engine, session_of
from ledger.postgres.table_owner import OWNER_WARNING, owns_tables
from monitoring.health.database_breaker import PROBE_TIMEOUT_S
from monitoring.health.timeline_memory import timeline_memory
from monitoring.logs import get_logger
from settings import Settings

log = get_logger(__name__)


def check_database(settings: Settings) -> None:
    """Connect once, before the program forks, and close the connection again.

    What the program learns of the newest server, its children know too.

    A database that is away stops nothing: a program starts without it.
    Raises: Refused: when the server takes no connection as it is asked for. Misconfigured: when
    it answers otherwise than this program needs.
    """
    engine = build_engine(
        settings.database_url,
        application_name="truepenny-start",
        pool_size=0,
        statement_timeout_s=PROBE_TIMEOUT_S,
    )
    memory = timeline_memory(settings)
    try:
        with autocommit(engine) as connection:
            is_owner = owns_tables(connection)
            memory.compare(session_of(connection).opened_by.succession)
    except Refused:
        raise
    except Unavailable:
        return
    finally:
        memory.close()
    if is_owner:
        log.warning("application_owns_its_tables", detail=OWNER_WARNING)
