"""Report of the benchmark: the results of a run as text tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.run import Run
from bench.scenarios import Measurement
from bench.target.processes import MANAGER, ProcessUse, is_application

_SHOWN_BYTES = 1.0
"""Of a table or index, per transfer: what is smaller does not grow with transfers."""


def text_of(run: Run) -> str:
    """Return all tables."""
    head = f"Truepenny {run.commit} on {run.machine}, durable commits"
    tables = (speed_table, parts_table, cpu_table, memory_table, disk_table)
    return "\n\n".join((head, *(table(run) for table in tables)))


def speed_table(run: Run) -> str:
    """Return the table of rates and latencies, with pgbench before and after as the reference."""
    titles = ("accepted/s", "settled/s", "÷ pgbench", "answer p50", "p99", "settle p50", "p99")
    rows: list[tuple[str, ...]] = []
    shown = None
    for each in run.measurements:
        if each.history != shown:
            shown = each.history
            rows.append((f"{shown:,} transfers in the database", *titles, "load by"))
        rows.append(_speed(each, run.reference_tps))
    notes = ["Milliseconds. Settle: from recorded to ended, by the database's clock."]
    if run.pgbench_tps:
        tps = " and ".join(f"{each:,.0f}" for each in run.pgbench_tps)
        notes.append(f"pgbench, TPC-B, scale 10, 20 clients, prepared: {tps} transactions/s.")
    else:
        notes.append("pgbench was not run, or is not on this machine.")
    if run.full_scan is not None:
        scan = run.full_scan
        rate = f"{scan.transfers / scan.seconds:,.0f}/s"
        notes.append(f"Full scan: {scan.transfers:,} transfers in {scan.seconds:.1f} s, {rate}.")
    return "\n".join((aligned(rows), *notes))


def _speed(measurement: Measurement, reference_tps: float | None) -> tuple[str, ...]:
    load, settled = measurement.load, measurement.settled
    ratio = f"{measurement.settled_per_s / reference_tps:.2f}" if reference_tps else "-"
    return (
        measurement.title,
        f"{measurement.accepted_per_s:,.0f}",
        f"{measurement.settled_per_s:,.0f}",
        ratio,
        *(f"{ms:,.1f}" for ms in (load.p50_ms, load.p99_ms, settled.p50_ms, settled.p99_ms)),
        load.generator + _unexpected(measurement),
    )


def _unexpected(measurement: Measurement) -> str:
    wrong = {code: count for code, count in measurement.load.statuses.items() if code[0] != "2"}
    said = [f"{count} answers {code}" for code, count in wrong.items()]
    if measurement.settled.other:
        said.append(f"{measurement.settled.other} not committed")
    return f" ({', '.join(said)})" if said else ""


def parts_table(run: Run) -> str:
    """Return the mean time of each part of a transfer's way, in milliseconds."""
    parts = {part: None for each in run.measurements for part in each.parts}
    rows: list[tuple[str, ...]] = [("ms, mean", *parts)]
    for each in run.measurements:
        times = [each.parts.get(part) for part in parts]
        rows.append((each.title, *("-" if one is None else f"{one.mean_ms:.2f}" for one in times)))
    return aligned(rows)


def cpu_table(run: Run) -> str:
    """Return the CPU seconds per 1,000 settled transfers, by program."""
    names = {program_of(name): None for each in run.measurements for name in each.cpu_s}
    rows: list[tuple[str, ...]] = [("CPU s per 1,000", "application", *names)]
    for each in run.measurements:
        total = f"{application_cpu_s(each):.2f}"
        by_program = dict.fromkeys(names, 0.0)
        for name in each.cpu_s:
            by_program[program_of(name)] += each.cpu_per_1000_s(name)
        rows.append((each.title, total, *(f"{value:.2f}" for value in by_program.values())))
    return aligned(rows)


def application_cpu_s(measurement: Measurement) -> float:
    """Return the CPU seconds of all application processes per 1,000 settled transfers."""
    return sum(
        measurement.cpu_per_1000_s(name) for name in measurement.cpu_s if is_application(name)
    )


def memory_table(run: Run) -> str:
    """Return the memory of each process, at rest and at the end."""
    rows: list[tuple[str, ...]] = [("PSS, MB", "at rest", f"after {run.transfers:,} transfers")]
    for name in {**run.at_rest, **run.afterwards}:
        uses = (run.at_rest.get(name), run.afterwards.get(name))
        rows.append((name, *("-" if use is None else _mb(use.pss_bytes) for use in uses)))
    totals = (_mb(application_pss(uses)) for uses in (run.at_rest, run.afterwards))
    rows.append(("application, all", *totals))
    managed = (
        _mb(application_pss(uses) + uses[MANAGER].pss_bytes)
        for uses in (run.at_rest, run.afterwards)
    )
    rows.append(("… with make up itself", *managed))
    return aligned(rows)


def application_pss(uses: Mapping[str, ProcessUse]) -> int:
    """Return the bytes of all application processes."""
    return sum(use.pss_bytes for name, use in uses.items() if is_application(name))


def disk_table(run: Run) -> str:
    """Return the bytes on disk per transfer, by table and index."""
    per_transfer = {
        name: size / max(run.transfers_on_disk, 1) for name, size in run.bytes_on_disk.items()
    }
    rows = [("bytes per transfer", f"of {run.transfers_on_disk:,}")]
    rows += [(name, f"{size:,.0f}") for name, size in per_transfer.items() if size >= _SHOWN_BYTES]
    rows.append(("all", f"{sum(per_transfer.values()):,.0f}"))
    return aligned(rows)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f}"


def program_of(process: str) -> str:
    """Return the name of the program that a process belongs to."""
    return process.rstrip("0123456789").strip()


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
