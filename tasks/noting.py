"""Every run of a scan leaves a note of how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from monitoring import check_ins
from monitoring.metrics.catalogue import SCANS
from monitoring.scan_notes import ScanName, ScanNotes
from settings import Settings


@dataclass(slots=True)
class Run:
    """What a run says of itself when it ends. Without a result it leaves no note."""

    result: str | None = None
    ok: bool = True


@contextmanager
def noted(name: ScanName) -> Iterator[Run]:
    """Note how the run in the block ends, also when it raises; the error goes on its way."""
    run = Run()
    try:
        yield run
        check_ins.note(ok=run.ok)
    except Exception as error:
        SCANS.labels(name, "failed").inc()
        # The error's text may hold anything.
        _notes().tell(name, ok=False, result=f"failed: {type(error).__name__}")
        raise
    if run.result is not None:
        SCANS.labels(name, "ok" if run.ok else "failed").inc()
        _notes().tell(name, ok=run.ok, result=run.result)


@cache
def _notes() -> ScanNotes:
    """The notes of this worker process, made on first use: so after the fork."""
    return ScanNotes(Settings.from_environment().cache_url)
