"""Reads the metrics files of all processes and prints them for Prometheus.

Guarantees that each family appears once, however many programs have it, and that one damaged
file hides nothing but itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from monitoring.logs import get_logger
from monitoring.metrics.files import Damaged, entries, is_alive

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """The body and the content type of an answer to a scrape."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class _Families:
    """What the library's encoders take for a registry."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def page(families: Sequence[Metric], *, accept: str) -> Page:
    """Print the families in the newest format that is accepted; the plain one is for all."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the library compares versions, and fails over what is none
        encode, content_type = choose_encoder("")
    return Page(encode(_Families(families)), content_type)


def programs_in(folder: Path) -> list[Path]:
    """Return the folders of the programs that measure on this machine."""
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError:  # there is no folder yet, or none can be made
        return []


def measured(programs: Iterable[Path]) -> list[Metric]:
    """Add up what the processes of these programs have measured."""
    files = [str(file) for program in programs for file in _files(program)]
    # Sorted, so that two scrapes differ only where a number does.
    merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return sorted(merged, key=lambda metric: metric.name)


def _files(program: Path) -> list[Path]:
    try:
        return [file for file in sorted(program.glob("*.db")) if _counts(file)]
    except OSError:
        return []


def _counts(file: Path) -> bool:
    """Whether the file can be read, and holds no gauges of a process that has ended."""
    if file.name.startswith("gauge_live"):
        place = file.stem.rpartition("-")[2]
        if not is_alive(file.parent, place):
            return False
    try:
        return bool(entries(file.read_bytes()))
    except (OSError, Damaged) as error:
        log.debug("metrics_not_read", file=file.name, error=type(error).__name__)
        return False
