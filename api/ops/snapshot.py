"""Snapshot of all components, for the overview of operators and the metrics.

Guarantees an answer within about a second whatever hangs, and that many requests at the same
time cost no more than one: each part is read by one thread at a time, and a fresh result is
used again. A part that cannot be read now is None, and a sentence says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from api.ops.reconciliation_status import ReconciliationStatus, read_reconciliation_status
from ledger.buffer.entries import IntakeBuffer
from ledger.buffer.missing import count_lost
from ledger.buffer.set_aside import AsideReason, count_aside
from ledger.errors import LedgerError, Unreachable
from ledger.postgres.database import autocommit, build_engine
from ledger.postgres.table_owner import owns_tables
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
"""Longer than a snapshot waits: a late result is used by the next snapshot."""
FRESH_FOR_S: Final = 1.0

Part = TypeVar("Part")

log = get_logger(__name__)

PressureReading = Callable[[], tuple[bool, float | None]]
"""Tells whether new transfers are refused, and which share of the broker's memory is used."""


@dataclass(frozen=True, slots=True)
class DatabasePart:
    """The counts of transfers, and of set-aside buffer entries by reason.

    reconciliation: None before the first run.
    """

    counts: TransferCounts
    reconciliation: ReconciliationStatus | None = None
    is_owner: bool = False
    """Whether the role of this process owns the tables, and could change what is final."""
    set_aside: Mapping[AsideReason, int] = field(default_factory=dict)
    lost: int = 0
    """Buffered requests that are lost."""


@dataclass(frozen=True, slots=True)
class BrokerPart:
    """How many messages wait in each queue, and how many requests are buffered."""

    queues: Mapping[str, int]
    buffered: int


@dataclass(frozen=True, slots=True)
class CachePart:
    """The age of each heartbeat in seconds, and the last run of each scan."""

    heartbeats: Mapping[str, int]
    notes: Mapping[str, JobNote]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of all parts at one time. unknown: why a part is None, by its name here."""

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

    @property
    def has_prices(self) -> bool:
        """Whether prices are fetched; False once it is known that they are off."""
        return self.prices is None or bool(self.prices)


class Snapshots:
    """Reads all parts at the same time. Shared by all threads of a process."""

    def __init__(
        self,
        *,
        health: Health,
        breaker_state: Callable[[], str],
        database: Callable[[], DatabasePart],
        broker: Callable[[], BrokerPart],
        cache: Callable[[], CachePart],
        prices: Callable[[], list[Quote]],
        pressure: PressureReading,
    ) -> None:
        """Take a function that reads each part. When it raises, the part is unknown.

        breaker_state, pressure: answer at once, and never raise.
        """
        self._health = health
        self._breaker_state = breaker_state
        self._pressure = pressure
        self._database = _flight("database", database)
        self._broker = _flight("broker", broker)
        self._cache = _flight("cache", cache)
        self._prices = _flight("prices", prices)

    def take(self) -> Snapshot:
        """Take a snapshot, in little more than the BOUND_S of the health report."""
        unknown: dict[str, str] = {}
        deadline_s = time.monotonic() + BOUND_S
        database, broker = self._database.join(), self._broker.join()
        cache, prices = self._cache.join(), self._prices.join()
        health = self._health.report()

        def known(name: str, flight: Flight[Part]) -> Part | None:
            try:
                return flight.result(deadline_s - time.monotonic())
            except Exception as error:  # noqa: BLE001 - `SingleFlight` has logged it
                unknown[name] = _reason(error, name)
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


def _flight(name: str, read: Callable[[], Part]) -> SingleFlight[Part]:
    return SingleFlight(f"snapshot-{name}", read, log=log, fresh_for_s=FRESH_FOR_S)


def _reason(error: Exception, name: str) -> str:
    """Return a fixed sentence: an error's own text may hold an address or a password."""
    if isinstance(error, TimeoutError):
        return f"the {name} did not answer within {BOUND_S:g} s"
    if isinstance(error, NoThread):
        return "not read: this process cannot start any more threads"
    if isinstance(error, LedgerError) and not isinstance(error, Unreachable):
        return f"the {name} could not be read just now"
    return f"the {name} does not answer"


def build_snapshots(
    settings: Settings,
    *,
    health: Health,
    prices: PriceLookup,
    buffer: IntakeBuffer,
    queue_lengths: Callable[[], Mapping[str, int]],
    breaker_state: Callable[[], str],
    pressure: PressureReading,
) -> Snapshots:
    """Wire the snapshots of one process. Connects to nothing."""
    # An engine of its own: watching must not take a connection from requests that move money.
    engine = build_engine(
        settings.database_url,
        application_name="truepenny-ops",
        pool_size=1,
        statement_timeout_s=STATEMENT_TIMEOUT_S,
    )
    cache = redis_client(settings.cache_url)

    prefix = settings.key_prefix

    def read_database() -> DatabasePart:
        with autocommit(engine) as connection:
            return DatabasePart(
                count_transfers(connection),
                read_reconciliation_status(connection),
                is_owner=owns_tables(connection),
                set_aside=count_aside(connection),
                lost=count_lost(connection),
            )

    return Snapshots(
        health=health,
        breaker_state=breaker_state,
        database=read_database,
        broker=lambda: BrokerPart(queue_lengths(), buffer.count()),
        cache=lambda: CachePart(
            heartbeat_cache.ages_s(cache, key_prefix=prefix), read_notes(cache, key_prefix=prefix)
        ),
        prices=prices.quotes,
        pressure=pressure,
    )
