"""What can be seen of the whole from here: the numbers behind the overview and the metrics.

Guarantees an answer within about a second whatever hangs, and that many who ask at once cost
what one does: each part is looked at by one thread at a time, and what was just seen is good
enough for the next. What cannot be known now is None, and a sentence says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import redis
from sqlalchemy import Engine

from api.ops.reconciliation_status import ReconciliationStatus, see_books
from ledger.buffer.entries import IntakeBuffer
from ledger.errors import LedgerError, Unreachable
from ledger.postgres.database import autocommit, build_engine
from ledger.transfer_counts import TransferCounts, count_transfers
from monitoring.health.broker_probe import redis_client
from monitoring.health.report import BOUND_S, Health, Report
from monitoring.heartbeats import heartbeat_cache
from monitoring.job_runs import JobNote, read_notes
from monitoring.logs import get_logger
from prices.lookup import PriceLookup
from prices.quotes import Quote
from resilience.single_flight import Flight, NoThread, SingleFlight
from settings import Settings

STATEMENT_TIMEOUT_S: Final = 4.0
"""Longer than anybody waits here: who asks again then gets what was seen meanwhile."""
FRESH_FOR_S: Final = 1.0

Part = TypeVar("Part")

log = get_logger(__name__)

Pressed = Callable[[], tuple[bool, float | None]]
"""Says whether new transfers are refused, and which share of the broker's memory is used."""


@dataclass(frozen=True, slots=True)
class DatabasePart:
    """How the transfers stand. books: None when they were never held against themselves."""

    standing: TransferCounts
    books: ReconciliationStatus | None = None


@dataclass(frozen=True, slots=True)
class BrokerPart:
    """How many messages wait in each queue, and how many requests are buffered."""

    queues: Mapping[str, int]
    buffered: int


@dataclass(frozen=True, slots=True)
class CachePart:
    """The age of each heartbeat, and the last note of each scan."""

    heartbeats: Mapping[str, int]
    notes: Mapping[str, JobNote]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that could be seen. unknown: why a part is None, by its name here."""

    at: datetime
    health: Report
    breaker_state: str
    database: DatabasePart | None
    broker: BrokerPart | None
    cache: CachePart | None
    prices: list[Quote] | None
    is_overloaded: bool = False
    broker_memory_share: float | None = None
    unknown: dict[str, str] = field(default_factory=dict)


class Snapshots:
    """Looks at every part, side by side. Shared by all threads of a process."""

    def __init__(
        self,
        *,
        health: Health,
        breaker_state: Callable[[], str],
        database: Callable[[], DatabasePart],
        broker: Callable[[], BrokerPart],
        cache: Callable[[], CachePart],
        prices: Callable[[], list[Quote]],
        pressure: Pressed,
    ) -> None:
        """Take how to look at each part. Whatever that raises means that it is unknown.

        breaker_state, pressure: answer at once, and never raise.
        """
        self._health = health
        self._breaker_state = breaker_state
        self._pressure = pressure
        self._database = _look("database", database)
        self._broker = _look("broker", broker)
        self._cache = _look("cache", cache)
        self._prices = _look("prices", prices)

    def seen(self) -> Snapshot:
        """Look at everything. Takes at most the bound of health, and a little."""
        unknown: dict[str, str] = {}
        deadline_s = time.monotonic() + BOUND_S
        database, broker = self._database.join(), self._broker.join()
        cache, prices = self._cache.join(), self._prices.join()
        health = self._health.report()

        def known(name: str, flight: Flight[Part]) -> Part | None:
            try:
                return flight.result(deadline_s - time.monotonic())
            except Exception as error:  # noqa: BLE001 - `SingleFlight` has logged it
                unknown[name] = _why(error, name)
                return None

        is_overloaded, share = self._pressure()
        return Snapshot(
            at=datetime.now(UTC),
            health=health,
            breaker_state=self._breaker_state(),
            database=known("database", database),
            broker=known("broker", broker),
            cache=known("cache", cache),
            prices=known("prices", prices),
            is_overloaded=is_overloaded,
            broker_memory_share=share,
            unknown=unknown,
        )


def _look(name: str, look: Callable[[], Part]) -> SingleFlight[Part]:
    return SingleFlight(f"see-{name}", look, log=log, fresh_for_s=FRESH_FOR_S)


def _why(error: Exception, name: str) -> str:
    """Say it in a sentence of our own: an error's text may hold an address or a password."""
    if isinstance(error, TimeoutError):
        return f"the {name} did not answer within {BOUND_S:g} s"
    if isinstance(error, NoThread):
        return "nobody could look: this process gets no more threads"
    if isinstance(error, LedgerError) and not isinstance(error, Unreachable):
        return f"the {name} could not tell just now"
    return f"the {name} does not answer"


def build_sights(
    settings: Settings,
    *,
    health: Health,
    prices: PriceLookup,
    buffer: IntakeBuffer,
    queue_lengths: Callable[[], Mapping[str, int]],
    breaker_state: Callable[[], str],
    pressure: Pressed,
) -> Snapshots:
    """Wire them for one process. Connects to nothing."""
    # Of its own: what many watch must not take a connection from what moves money.
    engine = build_engine(
        settings.database_url,
        application_name="truepenny-ops",
        pool_size=1,
        statement_timeout_s=STATEMENT_TIMEOUT_S,
    )
    cache = redis_client(settings.cache_url)
    return Snapshots(
        health=health,
        breaker_state=breaker_state,
        database=lambda: _see_database(engine),
        broker=lambda: BrokerPart(queue_lengths(), buffer.count()),
        cache=lambda: _see_cache(cache),
        prices=prices.quotes,
        pressure=pressure,
    )


def _see_database(engine: Engine) -> DatabasePart:
    with autocommit(engine) as connection:
        return DatabasePart(count_transfers(connection), see_books(connection))


def _see_cache(cache: redis.Redis) -> CachePart:
    return CachePart(heartbeat_cache.ages_s(cache), read_notes(cache))
