"""Metrics of what is seen at the time of asking: what is in the servers, and no process counted.

Every API answers the same, so whoever has several takes the `max` of them. What cannot be known
now is left out, and `truepenny_known` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from api.ops.reconciliation_status import ACTIONS, ReconciliationStatus
from api.ops.snapshot import BrokerPart, CachePart, Snapshot
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


def seen_families(seen: Snapshot) -> Iterator[Metric]:
    """Describe what was seen, family by family."""
    yield _known(set(_PARTS) - seen.unknown.keys())
    yield from _health(seen.health)
    if seen.database is not None:
        yield from _standing(seen.database.standing)
        yield from _books(seen.database.books)
    if seen.broker is not None:
        yield from _broker(seen.broker)
    if seen.cache is not None:
        yield from _cache(seen.cache)
    yield from _scans(seen)
    if seen.prices is not None:
        yield from _prices(seen.prices)
    yield from _pressure(seen)


def nothing_known() -> list[Metric]:
    """Describe that nothing could be seen in time."""
    return [_known(set())]


def _known(parts: set[str]) -> Metric:
    return _gauge(
        "truepenny_known",
        "Whether the numbers that come from a part are known now.",
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


def _standing(standing: TransferCounts) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_transfers",
        "Transfers under way, by state.",
        ["state"],
        (([state], standing.states[state]) for state in UNFINISHED),
    )
    settled = CounterMetricFamily(
        "truepenny_transfers_settled",
        "Transfers that have ended since the beginning, by how; as the database has them.",
        labels=["state"],
    )
    for state in FINISHED:
        settled.add_metric([state], standing.states[state])
    yield settled
    oldest = standing.oldest_unfinished
    yield _gauge(
        "truepenny_oldest_unfinished_age_seconds",
        "How long ago the oldest transfer under way was accepted; 0 when none is.",
        [],
        [([], 0 if oldest is None else oldest.age_s)],
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
        "Requests that wait in the broker until the database has them.",
        [],
        [([], broker.buffered)],
    )


def _cache(cache: CachePart) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_heartbeat_age_seconds",
        "How long ago a process gave a sign of life; those of the last hour.",
        ["name"],
        (([name], age_s) for name, age_s in cache.heartbeats.items()),
    )
    alive = dict.fromkeys(_PROGRAMS, 0)
    for name, age_s in cache.heartbeats.items():
        program = program_of(name)
        alive[program] = alive.get(program, 0) + (age_s <= FRESH_S)
    yield _gauge(
        "truepenny_workers_alive",
        "Processes that give signs of life, by program.",
        ["program"],
        (([program], count) for program, count in alive.items()),
    )


def _scans(seen: Snapshot) -> Iterator[Metric]:
    notes: dict[str, JobNote | None] = {}
    if seen.cache is not None:
        notes = {name: seen.cache.notes.get(name) for name in NAMES}
    if seen.database is not None:
        books = seen.database.books
        notes["reconciliation"] = None if books is None else books.note
    yield _gauge(
        "truepenny_scan_ok",
        "Whether the last run of a scan went well; 0 when none is on record.",
        ["scan"],
        (([name], note is not None and note.ok) for name, note in notes.items()),
    )
    yield _gauge(
        "truepenny_scan_age_seconds",
        "How long ago the last run of a scan ended.",
        ["scan"],
        (([name], note.age_s) for name, note in notes.items() if note is not None),
    )


def _books(books: ReconciliationStatus | None) -> Iterator[Metric]:
    # Zero for each action: or else what is found first is no increase to whoever watches.
    findings = {("none", action): 0 for action in ACTIONS} | dict(books.findings if books else {})
    found = CounterMetricFamily(
        "truepenny_reconciliation_findings",
        "What was ever found wrong in the books, by kind and by what was done about it.",
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


def _pressure(seen: Snapshot) -> Iterator[Metric]:
    yield _gauge(
        "truepenny_overloaded",
        "Whether this process refuses new transfers because the broker is too full.",
        [],
        [([], seen.is_overloaded)],
    )
    if seen.broker_memory_share is not None:
        yield _gauge(
            "truepenny_broker_memory_ratio",
            "The used share of the broker's memory; of a RabbitMQ 1 while it has an alarm, else 0.",
            [],
            [([], seen.broker_memory_share)],
        )


def _gauge(name: str, help_text: str, labels: Sequence[str], numbers: Numbers) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in numbers:
        family.add_metric(values, number)
    return family
