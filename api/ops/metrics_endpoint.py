"""Metrics endpoint: all metrics for Prometheus on one page.

Guarantees an answer within about a second, even with every server away, and that many scrapes
at the same time cost no more than one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import Metric

from api.ops.snapshot import Snapshots
from api.ops.snapshot_metrics import nothing_known, snapshot_families
from monitoring.logs import get_logger
from monitoring.metrics.exposition import Page, measured, page, programs_in
from resilience.single_flight import Flight, SingleFlight

TIMEOUT_S: Final = 1.4
"""A little more than a snapshot may take."""
FRESH_FOR_S: Final = 1.0

log = get_logger(__name__)


class MetricsPage:
    """Renders the page. Shared by all threads of a process."""

    def __init__(self, snapshots: Snapshots, folder: Path) -> None:
        """Take the snapshots, and the folder where the programs of this machine measure."""

        def from_snapshot() -> Sequence[Metric]:
            return list(snapshot_families(snapshots.take()))

        def from_files() -> Sequence[Metric]:
            return measured(programs_in(folder))

        self._from_snapshot = SingleFlight(
            "metrics-snapshot", from_snapshot, log=log, fresh_for_s=FRESH_FOR_S
        )
        # Never reused: a scrape must not show less than an earlier one of another process did.
        self._from_files = SingleFlight("metrics-files", from_files, log=log)

    def render(self, accept: str) -> Page:
        """Return the page in the newest accepted format. Never raises because of an outage."""
        deadline_s = time.monotonic() + TIMEOUT_S
        snapshot, files = self._from_snapshot.join(), self._from_files.join()
        families = [
            *(_result(snapshot, deadline_s) or nothing_known()),
            *(_result(files, deadline_s) or ()),
        ]
        return page(families, accept=accept)


def _result(flight: Flight[Sequence[Metric]], deadline_s: float) -> Sequence[Metric] | None:
    """Return the metrics, or None when reading them takes too long or fails."""
    try:
        return flight.result(deadline_s - time.monotonic())
    except Exception:  # noqa: BLE001 - `SingleFlight` has logged it
        return None
