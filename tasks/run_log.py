"""The run log: records how each run of a scan ended, except those of the consistency scan."""

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
    """The outcome of a run, filled in by the run. Without a result nothing is recorded."""

    result: str | None = None
    ok: bool = True


@contextmanager
def recorded_run(name: ScanName) -> Iterator[JobRun]:
    """Record how the run in the block ends, also when it raises; the error is raised on."""
    run = JobRun()
    try:
        yield run
        check_ins.note(ok=run.ok)
    except Exception as error:
        SCANS.labels(name, "failed").inc()
        # Only the type: the error's text may hold anything.
        _job_runs().record(name, ok=False, result=f"failed: {type(error).__name__}")
        raise
    if run.result is not None:
        SCANS.labels(name, "ok" if run.ok else "failed").inc()
        _job_runs().record(name, ok=run.ok, result=run.result)


@cache
def _job_runs() -> JobRuns:
    """Return the records of this worker process, made on first use, after the fork."""
    settings = Settings.from_environment()
    return JobRuns(settings.cache_url, key_prefix=settings.key_prefix)
