"""Everything that Prometheus is told, on one page.

Guarantees an answer within about a second, with every server away, and that many who scrape at
once cost what one does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prometheus_client import Metric

from api.seen_metrics import nothing_known, seen_families
from api.sights import Sights
from monitoring.logs import get_logger
from monitoring.metrics.exposition import Page, measured, page, programs_in
from resilience.single_flight import Flight, SingleFlight

PATIENCE_S: Final = 1.4
"""A little more than a look at everything may take."""
FRESH_FOR_S: Final = 1.0

log = get_logger(__name__)


class MetricsPage:
    """Shared by all threads of a process."""

    def __init__(self, sights: Sights, folder: Path) -> None:
        """Take what sees the servers, and where the programs of this machine measure."""
        self._seen = SingleFlight(
            "metrics-seen", lambda: _seen(sights), log=log, fresh_for_s=FRESH_FOR_S
        )
        # Read anew each time: a scrape of another process must not have seen more before.
        self._measured = SingleFlight("metrics-measured", lambda: _measured(folder), log=log)

    def render(self, accept: str) -> Page:
        """Return it in the newest format that is accepted. Never raises for an outage."""
        deadline_s = time.monotonic() + PATIENCE_S
        seen, own = self._seen.join(), self._measured.join()
        families = [
            *(_within(seen, deadline_s) or nothing_known()),
            *(_within(own, deadline_s) or ()),
        ]
        return page(families, accept=accept)


def _seen(sights: Sights) -> Sequence[Metric]:
    return list(seen_families(sights.seen()))


def _measured(folder: Path) -> Sequence[Metric]:
    return measured(programs_in(folder))


def _within(flight: Flight[Sequence[Metric]], deadline_s: float) -> Sequence[Metric] | None:
    """What was found, or None when it takes too long, or failed."""
    try:
        return flight.result(deadline_s - time.monotonic())
    except Exception:  # noqa: BLE001 - `SingleFlight` has logged it
        return None
