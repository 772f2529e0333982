"""Report of the benchmark: the measurements as text tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.scenarios import Measurement
from bench.target.processes import ProcessUse, is_application


@dataclass(frozen=True)
class Run:
    """Everything that one run has measured."""

    commit: str
    machine: str
    measurements: Sequence[Measurement]
    at_rest: Mapping[str, ProcessUse]
    afterwards: Mapping[str, ProcessUse]
    transfers: int
    """Settled between `at_rest` and `afterwards`."""

    def as_json(self) -> dict[str, Any]:
        """Return all of it as values that JSON knows."""
        rows = [
            {
                **asdict(each),
                "accepted_per_s": each.accepted_per_s,
                "settled_per_s": each.settled_per_s,
            }
            for each in self.measurements
        ]
        return {**asdict(self), "measurements": rows}

    def as_text(self) -> str:
        """Return all of it as tables for a terminal."""
        parts = [f"Truepenny {self.commit} on {self.machine}", self._speed(), self._cpu()]
        return "\n\n".join((*parts, self._memory()))

    def _speed(self) -> str:
        head = ("", "accepted/s", "settled/s", "answer p50", "p99", "settle p50", "p99", "load by")
        rows = [
            (
                each.title,
                f"{each.accepted_per_s:,.0f}",
                f"{each.settled_per_s:,.0f}",
                *(f"{value:,.1f}" for value in (each.load.p50_ms, each.load.p99_ms)),
                *(f"{value:,.1f}" for value in (each.settled.p50_ms, each.settled.p99_ms)),
                each.load.generator + _unexpected(each),
            )
            for each in self.measurements
        ]
        note = "Milliseconds. Settle: from recorded to ended, by the database's clock."
        return f"{aligned([head, *rows])}\n{note}"

    def _cpu(self) -> str:
        programs = list(
            dict.fromkeys(_program(name) for each in self.measurements for name in each.cpu_s)
        )
        rows = []
        for each in self.measurements:
            of_programs = dict.fromkeys(programs, 0.0)
            for name in each.cpu_s:
                of_programs[_program(name)] += each.cpu_per_1000_s(name)
            total = sum(
                value for name, value in of_programs.items() if name in _applications(programs)
            )
            rows.append(
                (each.title, f"{total:.2f}", *(f"{value:.2f}" for value in of_programs.values()))
            )
        return aligned([("CPU s per 1,000", "application", *programs), *rows])

    def _memory(self) -> str:
        rows: list[tuple[str, ...]] = [
            (name, _megabytes(self.at_rest.get(name)), _megabytes(self.afterwards.get(name)))
            for name in {**self.at_rest, **self.afterwards}
        ]
        totals = [_total(uses) for uses in (self.at_rest, self.afterwards)]
        rows.append(("application, all", *(f"{total / 1e6:,.1f}" for total in totals)))
        after = f"after {self.transfers:,}"
        return aligned([("PSS, MB", "at rest", after), *rows])


def _unexpected(measurement: Measurement) -> str:
    wrong = {code: count for code, count in measurement.load.statuses.items() if code[0] != "2"}
    said = [f"{count} answers {code}" for code, count in wrong.items()]
    if measurement.settled.other:
        said.append(f"{measurement.settled.other} not committed")
    return f" ({', '.join(said)})" if said else ""


def _program(name: str) -> str:
    return name.rstrip("0123456789").strip()


def _applications(programs: Sequence[str]) -> set[str]:
    return {name for name in programs if is_application(name) and name != "load generator"}


def _total(uses: Mapping[str, ProcessUse]) -> int:
    return sum(use.pss_bytes for name, use in uses.items() if is_application(name))


def _megabytes(use: ProcessUse | None) -> str:
    return "-" if use is None else f"{use.pss_bytes / 1e6:,.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines with aligned columns: the first to the left, others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
