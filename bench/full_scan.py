"""Full scan: times a full run of the consistency scan while nothing else runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from bench.target.books import Books
from bench.target.running_stack import RunningStack

_ENDS_WITHIN_S = 900.0


@dataclass(frozen=True)
class FullScan:
    """A full run of the consistency scan, which found nothing."""

    transfers: int
    seconds: float


def run_full_scan(stack: RunningStack, books: Books) -> FullScan:
    """Begin a full run as an operator would, and wait for its end.

    Raises: SystemExit: when it finds anything, or does not end.
    """
    run, deadline_s = stack.admin.post("/v1/reconciliations", {}), time.monotonic() + _ENDS_WITHIN_S
    while run["state"] == "running":
        if time.monotonic() > deadline_s:
            raise SystemExit(f"the full scan has not ended after {_ENDS_WITHIN_S:g} s")
        time.sleep(0.2)
        run = stack.admin.get(f"/v1/reconciliations/{run['id']}")
    if run["state"] != "finished" or run["findings_count"]:
        raise SystemExit(f"the full scan has {run['state']}, and found: {run.get('findings')}")
    began, ended = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    return FullScan(books.count_ended(), (ended - began).total_seconds())
