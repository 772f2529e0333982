"""Metrics exposition: reads the metrics files of all processes and prints them for Prometheus.

Guarantees that each family appears once, however many programs have it, and that a damaged file
does not affect the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from monitoring.logs import get_logger
from monitoring.metrics.files import DamagedFile, entries, is_alive

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """Body and content type of the answer to a scrape."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class _Families:
    """The families, in the form of a registry, as the library's encoders need them."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


def page(families: Sequence[Metric], *, accept: str) -> Page:
    """Print the families in the newest accepted format, by default the plain text one."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the library fails if a version in the header is not a number
        encode, content_type = choose_encoder("")
    return Page(encode(_Families(families)), content_type)


def programs_in(folder: Path) -> list[Path]:
    """Return the folders of the programs of this machine that have metrics."""
    try:
        return sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError:  # there is no folder yet, or it cannot be created
        return []


def measured(programs: Iterable[Path]) -> list[Metric]:
    """Add up the metrics of all processes of these programs."""
    files = [str(file) for program in programs for file in _files(program)]
    # Sorted, so that two scrapes differ only where a number does.
    merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return sorted(merged, key=lambda metric: metric.name)


def _files(program: Path) -> list[Path]:
    try:
        return [file for file in sorted(program.glob("*.db")) if _is_usable(file)]
    except OSError:
        return []


def _is_usable(file: Path) -> bool:
    """Whether the file can be read, and has no gauges of a process that has ended."""
    if file.name.startswith("gauge_live"):
        slot = file.stem.rpartition("-")[2]
        if not is_alive(file.parent, slot):
            return False
    try:
        return bool(entries(file.read_bytes()))
    except (OSError, DamagedFile) as error:
        log.debug("metrics_not_read", file=file.name, error=type(error).__name__)
        return False
