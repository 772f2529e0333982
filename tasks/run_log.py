"""Every run of a scan leaves a note of how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from monitoring.job_runs import JobRuns, ScanName
from monitoring.metrics.catalogue import SCANS
from monitoring.sentry import check_ins
from settings import Settings


@dataclass(slots=True)
class JobRun:
    """What a run says of itself when it ends. Without a result it leaves no note."""

    result: str | None = None
    ok: bool = True


@contextmanager
def noted(name: ScanName) -> Iterator[JobRun]:
    """Note how the run in the block ends, also when it raises; the error goes on its way."""
    run = JobRun()
    try:
        yield run
        check_ins.note(ok=run.ok)
    except Exception as error:
        SCANS.labels(name, "failed").inc()
        # The error's text may hold anything.
        _notes().record(name, ok=False, result=f"failed: {type(error).__name__}")
        raise
    if run.result is not None:
        SCANS.labels(name, "ok" if run.ok else "failed").inc()
        _notes().record(name, ok=run.ok, result=run.result)


@cache
def _notes() -> JobRuns:
    """The notes of this worker process, made on first use: so after the fork."""
    return JobRuns(Settings.from_environment().cache_url)
