"""Catalogue of every metric that the processes of Truepenny count themselves.

Guarantees that labels come from fixed sets: a value that a client invented becomes `other`. The
metrics read from the servers with each scrape are in `api/ops/snapshot_metrics.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from ledger.states import UNFINISHED
from monitoring.job_runs import NAMES
from monitoring.logs import get_logger
from monitoring.metrics.cardinality import OTHER, Limited
from monitoring.metrics.files import STORE, wipe

REQUEST_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
STEP_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 45.0)
PART_BOUNDS_S: Final = (
    0.0005,
    0.001,
    0.002,
    0.004,
    0.008,
    0.016,
    0.032,
    0.064,
    0.128,
    0.5,
    2.0,
    8.0,
)
SIZE_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

REQUEST_SECONDS: Final = Limited(
    Histogram,
    "truepenny_http_request_seconds",
    "How long requests took, by route, method, class of status, and whether they asked to wait.",
    ("route", "method", "status", "waits"),
    buckets=REQUEST_BOUNDS_S,
)
PROBLEMS: Final = Limited(
    Counter,
    "truepenny_problems_total",
    "Requests that were refused or failed, by code.",
    ("code",),
)
STEP_SECONDS: Final = Limited(
    Histogram,
    "truepenny_step_seconds",
    "How long steps took in the workers. Outcome: moved, idle (nothing to do) or failed.",
    ("step", "outcome"),
    buckets=STEP_BOUNDS_S,
)
PART_SECONDS: Final = Limited(
    Histogram,
    "truepenny_part_seconds",
    "Where the time of a transfer goes. door: storing a group of requests. hop: a message on its "
    "way to a worker. claim: the statement that claims a batch. reserve_sql, deduct_sql, "
    "credit_sql, commit_sql, rollback_sql: waiting for PostgreSQL, with the commit. "
    "wake: from the end of a transfer to the request that waits for it.",
    ("part",),
    buckets=PART_BOUNDS_S,
)
STEP_TRANSFERS: Final = Limited(
    Histogram,
    "truepenny_step_transfers",
    "How many transfers a step moved at once.",
    ("step",),
    buckets=SIZE_BOUNDS,
)
REDRIVEN: Final = Limited(
    Counter,
    "truepenny_redriven_transfers_total",
    "Transfers that stood still and were driven on, by the state they stood in.",
    ("state",),
)
DRAINED: Final = Limited(
    Counter,
    "truepenny_drained_requests_total",
    "Buffered requests that were replayed: accepted, refused, known already, or their key reused; "
    "and entries that were set aside.",
    ("outcome",),
)
SCANS: Final = Limited(
    Counter,
    "truepenny_scan_runs_total",
    "Runs of each scan that ended, well or not.",
    ("scan", "outcome"),
)
CLIENT_ERRORS: Final = Limited(
    Counter,
    "truepenny_client_errors_total",
    "Errors in browsers, by page and panel.",
    ("page", "panel"),
)
BREAKER_OPEN: Final = Gauge(
    "truepenny_database_breaker_open",
    "Whether a process does not ask the database, because it is away.",
    multiprocess_mode="liveall",
    registry=None,
)
KEYS_KNOWN_AT: Final = Gauge(
    "truepenny_keys_known_timestamp_seconds",
    "When an API process last read from the database which keys are refused; until it has, when it "
    "began to ask. 0 in processes that ask for none.",
    multiprocess_mode="liveall",
    registry=None,
)

Zeros = Sequence[tuple[Limited[Counter], tuple[str, ...]]]

OF_THE_API: Final[Zeros] = (
    *((PROBLEMS, (code,)) for code in ("internal_error", "unavailable", "overloaded")),
    *((PROBLEMS, (code,)) for code in ("rate_limited", "idempotency_key_reused")),
    *((CLIENT_ERRORS, (page, "none")) for page in ("wallet", "ops")),
)
OF_WORKERS: Final[Zeros] = (
    *((REDRIVEN, (state,)) for state in UNFINISHED),
    *((DRAINED, (outcome,)) for outcome in ("accepted", "refused", "known", "reused")),
    (DRAINED, ("set_aside",)),
    *((SCANS, (scan, outcome)) for scan in NAMES for outcome in ("ok", "failed")),
)

_PAGES: Final = ("wallet", "ops")
PANELS: Final = frozenset(
    {
        *("breakers", "forbidden", "key", "oldest", "page", "prices", "queues", "recent"),
        *("reconciliations", "scans", "search", "send", "statement", "status", "transfers"),
        *("wallets", "workers"),
    }
)
"""Names of the panels in the pages. Names that a client invents would use up the series."""

log = get_logger(__name__)


def folder_of(data_dir: Path) -> Path:
    """Return the folder in which each program of this machine has a folder for its metrics."""
    return data_dir / "run" / "metrics"


def begin(program: str, data_dir: Path, zeros: Zeros) -> None:
    """Start all metrics at zero, in the parent process of a program. Never raises.

    zeros: series that exist before they are first counted: else Prometheus would miss the
    first increase.
    """
    folder = folder_of(data_dir) / program
    try:
        wipe(folder)
    except OSError as error:
        log.warning("metrics_not_wiped", error=error.strerror or type(error).__name__)
    STORE.use(folder)
    for counter, labels in zeros:
        counter.labels(*labels).inc(0)


def count_client_error(page: str, panel: str | None) -> None:
    """Count an error in a browser. Unknown names become `other`. Never raises."""
    CLIENT_ERRORS.labels(page if page in _PAGES else OTHER, _panel(panel)).inc()


def _panel(name: str | None) -> str:
    if name is None:
        return "none"
    return name if name in PANELS else OTHER
