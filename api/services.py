"""Services of one process: what the views call, wired to this process's connections.

Guarantees that building connects to nothing: engines and clients open their connections
when first used, which is after the server has forked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast
from uuid import UUID

from flask import current_app

from api.auth.key_ring import KeyRing
from api.auth.key_watch import KeyWatch
from api.auth.outage_cache import OutageCache, build_outage_cache
from api.database import STATEMENT_TIMEOUT_S, Database
from api.http.problems import overloaded
from api.ops.browser_reports import ReportLimit
from api.ops.metrics_endpoint import MetricsPage
from api.ops.snapshot import Snapshots, build_snapshots
from api.rate_limits.counters import CacheCounters, Counters, MemoryCounters
from api.rate_limits.failed_auth import FailedAuthLimit
from api.rate_limits.item_limit import ItemLimit
from api.rate_limits.write_limit import WriteLimit
from api.transfers.asset_scales import AssetScales
from api.transfers.group_commit import GroupCommit
from api.transfers.settlement_wait import SLOTS, SettlementWaiter
from api.transfers.submission import Submission
from ledger.assets import load_scales
from ledger.buffer.entries import IntakeBuffer
from ledger.keys.credentials import Found, find_credential
from ledger.postgres.database import build_engine, probe
from ledger.transfers import Transfer, find_transfers, finished_among
from monitoring.health.broker_probe import BrokerGauge
from monitoring.health.checks import all_checks
from monitoring.health.database_breaker import PROBE_TIMEOUT_S, DatabaseBreaker
from monitoring.health.report import Health
from monitoring.health.timeline_memory import timeline_memory
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import folder_of
from prices.health_check import prices_check
from prices.lookup import PriceLookup, build_price_lookup
from resilience.hints import HintListener
from settings import Settings

EXTENSION = "truepenny"

log = get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """Everything a view may use."""

    database: Database
    buffer: IntakeBuffer
    keys: KeyRing
    scales: AssetScales
    submission: Submission
    settlement_waiter: SettlementWaiter
    prices: PriceLookup
    health: Health
    snapshots: Snapshots
    metrics_page: MetricsPage
    is_overloaded: Callable[[], bool]
    reconcile: Callable[[], None]
    counters: Counters
    write_limit: WriteLimit
    item_limit: ItemLimit
    client_rate_limit: str
    failed_auth_limit: FailedAuthLimit
    report_limit: ReportLimit
    flower_url: str | None


def build_services(
    settings: Settings,
    *,
    buffer: IntakeBuffer,
    kick: Callable[[], None],
    pressure: BrokerGauge,
    reconcile: Callable[[], None],
    queue_lengths: Callable[[], Mapping[str, int]],
) -> Services:
    """Wire the services of one process.

    buffer: keeps requests while the database is away.
    kick: tells the workers that there is work; never blocks, never raises.
    pressure: knows whether the broker is too full for more work; /health shows its readings.
    reconcile: tells the workers that a consistency scan has begun; never blocks, never raises.
    queue_lengths: how many messages wait in each queue; may raise when the broker is away.
    """
    database = _database(settings)
    outage_cache = build_outage_cache(settings)
    scales = _scales(database, outage_cache)
    counters = _counters(settings)
    failed_auth_limit = FailedAuthLimit(settings.rate_limit, counters)
    item_limit = ItemLimit(settings.client_item_limit, counters)
    prices = _prices(settings)
    health = _health(settings, prices, pressure)
    snapshots = build_snapshots(
        settings,
        health=health,
        prices=prices,
        buffer=buffer,
        queue_lengths=queue_lengths,
        breaker_state=lambda: database.breaker_state,
        pressure=pressure.latest,
    )
    return Services(
        database=database,
        buffer=buffer,
        keys=_key_ring(database, scales, outage_cache, failed_auth_limit),
        scales=scales,
        submission=_submission(database, GroupCommit(database, buffer, kick), item_limit),
        settlement_waiter=_settlement_waiter(settings, database),
        prices=prices,
        health=health,
        snapshots=snapshots,
        metrics_page=MetricsPage(snapshots, folder_of(settings.data_dir)),
        is_overloaded=lambda: pressure.latest()[0],
        reconcile=reconcile,
        counters=counters,
        write_limit=WriteLimit(settings.rate_limit, counters),
        item_limit=item_limit,
        client_rate_limit=settings.client_rate_limit,
        failed_auth_limit=failed_auth_limit,
        report_limit=ReportLimit(counters),
        flower_url=settings.flower_url,
    )


def _scales(database: Database, outage_cache: OutageCache) -> AssetScales:
    def load() -> dict[str, int]:
        with database.autocommit() as connection:
            return load_scales(connection)

    return AssetScales(load, outage_cache)


def _key_ring(
    database: Database, scales: AssetScales, outage_cache: OutageCache, limit: FailedAuthLimit
) -> KeyRing:
    def find(api_key: str) -> Found | None:
        with database.autocommit() as connection:
            found = find_credential(connection, api_key)
        scales.prepare()  # a client that is let in may move money when the database has gone away
        return found

    return KeyRing(limit.guard(find), outage_cache, database.clock, KeyWatch(database))


def _submission(database: Database, group_commit: GroupCommit, item_limit: ItemLimit) -> Submission:
    def find(transfer_ids: list[UUID]) -> dict[UUID, Transfer]:
        with database.autocommit() as connection:
            return find_transfers(connection, transfer_ids)

    return Submission(group_commit, item_limit, find)


def _counters(settings: Settings) -> Counters:
    memory = MemoryCounters(processes=settings.api_processes)
    shared = CacheCounters(settings.cache_url, key_prefix=settings.key_prefix)
    return Counters(shared, memory)


def _settlement_waiter(settings: Settings, database: Database) -> SettlementWaiter:
    return SettlementWaiter(
        partial(_find_settled, database),
        slots=SLOTS,
        listen=lambda heard: HintListener(
            settings.cache_url, settings.ended_channel, heard, log=log
        ),
    )


def _find_settled(database: Database, transfer_ids: list[UUID]) -> dict[UUID, Transfer]:
    with database.autocommit() as connection:
        finished = finished_among(connection, transfer_ids)
        return find_transfers(connection, list(finished)) if finished else {}


def _database(settings: Settings) -> Database:
    pool = build_engine(
        settings.database_url,
        application_name="truepenny-api",
        statement_timeout_s=STATEMENT_TIMEOUT_S,
    )
    # No pool: each probe tests whether a new connection can be made.
    probing = build_engine(
        settings.database_url,
        application_name="truepenny-probe",
        pool_size=0,
        statement_timeout_s=PROBE_TIMEOUT_S,
    )
    memory = timeline_memory(settings)
    # The idle connections of this pool may be all that the server allows. A probe could then
    # connect only after they were closed, so the breaker closes them when it opens.
    breaker = DatabaseBreaker(
        lambda: probe(probing, compare=memory.compare), when_away=pool.dispose
    )
    return Database(pool, breaker)


def _prices(settings: Settings) -> PriceLookup:
    # A connection of its own: a pool that is busy with payments must not look like an outage.
    engine = build_engine(
        settings.database_url,
        application_name="truepenny-prices",
        pool_size=1,
        statement_timeout_s=PROBE_TIMEOUT_S,
    )
    return build_price_lookup(
        symbols=settings.price_symbols,
        fallback_prices=settings.fallback_prices,
        cache_url=settings.cache_url,
        key_prefix=settings.key_prefix,
        engine=engine,
    )


def _health(settings: Settings, prices: PriceLookup, pressure: BrokerGauge) -> Health:
    engine = build_engine(
        settings.database_url,
        application_name="truepenny-health",
        pool_size=1,
        statement_timeout_s=PROBE_TIMEOUT_S,
    )
    return Health(
        all_checks(
            engine=engine,
            read_broker=pressure.read_now,
            cache_url=settings.cache_url,
            key_prefix=settings.key_prefix,
            prices=prices_check(prices),
        )
    )


def require_room() -> None:
    """Refuse new work while the queues are too full for it (backpressure).

    Raises: Problem overloaded: before anything of the request is recorded.
    """
    if services().is_overloaded():
        raise overloaded()


def services() -> Services:
    """Return the services of the application that answers the current request."""
    return cast(Services, current_app.extensions[EXTENSION])
