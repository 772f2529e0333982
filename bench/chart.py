"""Chart of a run: settled transfers per second and idle latencies, as SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.run import Run
from bench.scenarios import Measurement

_BAR = 0.8


def draw(run: Run, file: Path) -> None:
    """Draw the chart into this file."""
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "truepenny"  # the same run gives the same file
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    rates, latencies = figure.subplots(1, 2, width_ratios=(3, 2))
    loads = [each for each in run.measurements if not each.scenario.startswith("idle")]
    idle = [each for each in run.measurements if each.scenario.startswith("idle")]
    _bars(rates, loads, [each.settled_per_s for each in loads], "settled transfers per second")
    if run.reference_tps:
        rates.axhline(run.reference_tps, color="black", linestyle=":", label="pgbench TPC-B")
    _bars(latencies, idle, [each.load.p50_ms for each in idle], "idle POST to committed, p50, ms")
    handles, labels = rates.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Truepenny {run.commit} on {run.machine}")
    figure.savefig(file, format="svg", metadata={"Date": None})


def _bars(axes: Axes, rows: list[Measurement], heights: list[float], title: str) -> None:
    """Draw one group of bars for each scenario, and in it one bar for each history."""
    scenarios = list(dict.fromkeys(each.scenario for each in rows))
    histories = sorted({each.history for each in rows})
    width = _BAR / max(len(histories), 1)
    for number, history in enumerate(histories):
        chosen = [
            (scenarios.index(each.scenario) + number * width, height)
            for each, height in zip(rows, heights, strict=True)
            if each.history == history
        ]
        bars = axes.bar(*zip(*chosen, strict=True), width, label=f"{history:,} in the database")
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    axes.set_xticks([at + (_BAR - width) / 2 for at in range(len(scenarios))], scenarios)
    axes.tick_params(axis="x", rotation=20)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
