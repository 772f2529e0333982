"""Snapshot metrics: state of the servers, read at scrape time and counted by no process.

Every API process answers the same, so a query takes the `max` of them. What cannot be read now
is left out, and `truepenny_known` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from api.ops.reconciliation_status import ACTIONS, ReconciliationStatus
from api.ops.snapshot import BrokerPart, CachePart, DatabasePart, Snapshot
from ledger.states import FINISHED, UNFINISHED
from ledger.transfer_counts import TransferCounts
from monitoring.health.report import Report
from monitoring.heartbeats.heartbeat_cache import FRESH_S, program_of
from monitoring.job_runs import NAMES, JobNote
from prices.quotes import Quote

_PARTS: Final = ("database", "broker", "cache", "prices")
_PROGRAMS: Final = ("money", "scans", "beat")
_SOURCES: Final = ("live", "stale", "static")

Numbers = Iterable[tuple[Sequence[str], float]]


def snapshot_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Make the metrics of a snapshot, family by family."""
    yield _known(set(_PARTS) - snapshot.unknown.keys())
    yield from _health(snapshot.health)
    if snapshot.database is not None:
        yield from _transfers(snapshot.database.counts)
        yield from _progress(snapshot.database.reconciliation)
        yield from _findings(snapshot.database.reconciliation)
        yield from _exceptions(snapshot.database)
    if snapshot.broker is not None:
        yield from _broker(snapshot.broker)
    if snapshot.cache is not None:
        yield from _cache(snapshot.cache)
    yield from _scans(snapshot)
    if snapshot.prices is not None:
        yield from _prices(snapshot.prices)
    yield from _pressure(snapshot)


def nothing_known() -> list[Metric]:
    """Make the metric that says that no part could be read in time."""
    return [_known(set())]


def _known(parts: set[str]) -> Metric:
    return _gauge(
        "truepenny_known",
        "Whether the metrics that come from a part are known now.",
        ["part"],
        (([part], part in parts) for part in _PARTS),
    )


def _health(report: Report) -> Iterator[Metric]:
    components = report.components.items()
    yield _gauge(
        "truepenny_component_up",
        "Whether a component is not down, as /health says.",
        ["component"],
        (([name], component.status != "down") for name, component in components),
    )
    yield _gauge(
        "truepenny_component_ok",
        "Whether a component is neither down nor degraded, as /health says.",
        ["component"],
        (([name], component.status == "ok") for name, component in components),
    )


def _transfers(counts: TransferCounts) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_transfers",
        "Transfers under way, by state.",
        ["state"],
        (([state], counts.states[state]) for state in UNFINISHED),
    )
    settled = CounterMetricFamily(
        "truepenny_transfers_settled",
        "All transfers that have ended, by final state, as counted in the database.",
        labels=["state"],
    )
    for state in FINISHED:
        settled.add_metric([state], counts.states[state])
    yield settled
    oldest = counts.oldest_unfinished
    yield _gauge(
        "truepenny_oldest_unfinished_age_seconds",
        "How long ago the oldest transfer under way was accepted; 0 when there is none.",
        [],
        [([], 0 if oldest is None else oldest.age_s)],
    )


def _exceptions(database: DatabasePart) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_set_aside_entries",
        "Buffer entries that were not replayed and wait for an operator, by reason.",
        ["reason"],
        (([reason], count) for reason, count in database.set_aside.items()),
    )
    yield _gauge(
        "truepenny_lost_requests",
        "Buffered requests that were answered 202 and are neither in the buffer nor recorded.",
        [],
        [([], database.lost)],
    )


def _broker(broker: BrokerPart) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_queue_messages",
        "Messages that no worker has taken yet.",
        ["queue"],
        (([name], waiting) for name, waiting in broker.queues.items()),
    )
    yield _gauge(
        "truepenny_intake_buffer_requests",
        "Requests that wait on the broker until they are in the database.",
        [],
        [([], broker.buffered)],
    )


def _cache(cache: CachePart) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_heartbeat_age_seconds",
        "The age of the last heartbeat of each process seen within the last hour.",
        ["name"],
        (([name], age_s) for name, age_s in cache.heartbeats.items()),
    )
    alive = dict.fromkeys(_PROGRAMS, 0)
    for name, age_s in cache.heartbeats.items():
        program = program_of(name)
        alive[program] = alive.get(program, 0) + (age_s <= FRESH_S)
    yield _gauge(
        "truepenny_workers_alive",
        "Processes with a fresh heartbeat, by program.",
        ["program"],
        (([program], count) for program, count in alive.items()),
    )


def _scans(snapshot: Snapshot) -> Iterator[Metric]:
    notes: dict[str, JobNote | None] = {}
    if snapshot.cache is not None:
        # Prices that are off leave the record of their last run behind.
        names = [name for name in NAMES if name != "prices" or snapshot.has_prices]
        notes = {name: snapshot.cache.notes.get(name) for name in names}
    if snapshot.database is not None:
        status = snapshot.database.reconciliation
        notes["reconciliation"] = None if status is None else status.note
    yield _gauge(
        "truepenny_scan_ok",
        "Whether the last run of a scan succeeded; 0 when none is recorded.",
        ["scan"],
        (([name], note is not None and note.ok) for name, note in notes.items()),
    )
    yield _gauge(
        "truepenny_scan_age_seconds",
        "How long ago the last run of a scan ended.",
        ["scan"],
        (([name], note.age_s) for name, note in notes.items() if note is not None),
    )


def _progress(status: ReconciliationStatus | None) -> Iterator[Metric]:
    if status is not None:
        yield _gauge(
            "truepenny_reconciliation_progress",
            "The part of the last run of the consistency scan that is done, an estimate.",
            [],
            [([], status.progress)],
        )


def _findings(status: ReconciliationStatus | None) -> Iterator[Metric]:
    # Zero for each action at first: an alert sees the first finding as an increase only then.
    findings = {("none", action): 0 for action in ACTIONS} | dict(status.findings if status else {})
    found = CounterMetricFamily(
        "truepenny_reconciliation_findings",
        "All findings of the consistency scan, by kind and by what was done about each.",
        labels=["kind", "action"],
    )
    for (kind, action), count in findings.items():
        found.add_metric([kind, action], count)
    yield found


def _prices(quotes: list[Quote]) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_price_age_seconds",
        "The age of a price; a static one has none.",
        ["symbol"],
        (([quote.symbol], quote.age_s) for quote in quotes if quote.age_s is not None),
    )
    yield _gauge(
        "truepenny_price_source",
        "Where the price that is shown comes from: 1 for its source.",
        ["symbol", "source"],
        (
            ([quote.symbol, source], quote.source == source)
            for quote in quotes
            for source in _SOURCES
        ),
    )


def _pressure(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_overloaded",
        "Whether this process refuses new transfers because the broker is too full.",
        [],
        [([], snapshot.is_overloaded)],
    )
    if snapshot.broker_memory_share is not None:
        yield _gauge(
            "truepenny_broker_memory_ratio",
            "The used share of the broker's memory; of a RabbitMQ 1 while it has an alarm, else 0.",
            [],
            [([], snapshot.broker_memory_share)],
        )


def _gauge(name: str, help_text: str, labels: Sequence[str], numbers: Numbers) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in numbers:
        family.add_metric(values, number)
    return family
