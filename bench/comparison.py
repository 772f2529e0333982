"""Comparison: two versions measured in turn, with medians, spreads and ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.report import aligned, application_cpu_s, application_pss
from bench.run import Choice, Run, run_on
from bench.target.code import Code


@dataclass(frozen=True)
class Comparison:
    """The runs of two versions, in the order in which they were measured."""

    before: Sequence[Run]
    after: Sequence[Run]

    def as_text(self) -> str:
        """Return a table with the median, the least and the greatest of each figure."""
        names = (self.before[0].commit, self.after[0].commit)
        rows = [(f"median (least to greatest), n = {len(self.after)}", *names, "ratio")]
        before, after = ([figures_of(run) for run in runs] for runs in (self.before, self.after))
        for name in after[0]:
            values = [[run[name] for run in runs if name in run] for runs in (before, after)]
            medians = [median(each) for each in values]
            ratio = f"{medians[1] / medians[0]:.2f}" if medians[0] else "-"
            rows.append((name, _spread(values[0]), _spread(values[1]), ratio))
        return aligned(rows)


def compare(before: Code, after: Code, choice: Choice, *, rounds: int) -> Comparison:
    """Measure both versions this many times. The one that begins alternates."""
    runs: dict[str, list[Run]] = {"before": [], "after": []}
    codes = {"before": before, "after": after}
    for number in range(rounds):
        order = ("before", "after") if number % 2 == 0 else ("after", "before")
        for name in order:
            runs[name].append(run_on(codes[name], choice))
            print(f"round {number + 1} of {rounds}: {codes[name].label} measured", flush=True)
    return Comparison(runs["before"], runs["after"])


def figures_of(run: Run) -> dict[str, float]:
    """Return what is compared, by name."""
    figures = {}
    for each in run.measurements:
        name = f"{each.scenario}, {each.history:,}"
        if each.scenario.startswith("idle"):
            figures[f"{name}: answer p50, ms"] = each.load.p50_ms
            figures[f"{name}: answer p99, ms"] = each.load.p99_ms
            continue
        figures[f"{name}: settled/s"] = each.settled_per_s
        figures[f"{name}: settle p50, ms"] = each.settled.p50_ms
        figures[f"{name}: application CPU s per 1,000"] = application_cpu_s(each)
    if run.reference_tps:
        figures["pgbench, transactions/s"] = run.reference_tps
    if run.full_scan:
        figures["full scan, transfers/s"] = run.full_scan.transfers / run.full_scan.seconds
    figures["PSS of the application at rest, MB"] = application_pss(run.at_rest) / 1e6
    return figures


def _spread(values: Sequence[float]) -> str:
    digits = 0 if median(values) >= 100 else 2
    shown = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    middle, least, greatest = shown
    return f"{middle} ({least} to {greatest})"
