"""Run: measures one version from start to stop, and keeps all results."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.full_scan import FullScan, run_full_scan
from bench.scenarios import ONE_BY_ONE, SCENARIOS, LoadScenario, Measurement, measure
from bench.target.accounts import Accounts, make_accounts
from bench.target.books import Books, open_books
from bench.target.code import Code, one_by_one
from bench.target.history import load_history
from bench.target.pgbench import run_pgbench
from bench.target.processes import ProcessUse, process_uses
from bench.target.running_stack import RunningStack, running_stack, server_version

PGBENCH, SCAN = "pgbench", "scan"
PARTS = (PGBENCH, *(each.name for each in SCENARIOS), SCAN, ONE_BY_ONE.name)
_WARM_UP_S = 3.0
_REST_S = 5.0
_LARGEST_SCANNED = 1_000_000


@dataclass(frozen=True)
class Choice:
    """The choice of what to measure. only: names of PARTS. seconds: of load for each scenario.

    histories: measure again with so many transfers in the database, in rising order.
    """

    only: frozenset[str]
    seconds: float
    histories: tuple[int, ...]
    generator: str


@dataclass(frozen=True)
class Run:
    """The results of one run."""

    commit: str
    machine: str
    pgbench_tps: tuple[float, ...]
    """Before and after; empty without pgbench."""
    measurements: Sequence[Measurement]
    full_scan: FullScan | None
    at_rest: Mapping[str, ProcessUse]
    afterwards: Mapping[str, ProcessUse]
    transfers: int
    """Settled between `at_rest` and `afterwards`."""
    bytes_on_disk: Mapping[str, int]
    """At the end, by table and index."""
    transfers_on_disk: int

    @property
    def reference_tps(self) -> float | None:
        """The mean of pgbench before and after."""
        return sum(self.pgbench_tps) / len(self.pgbench_tps) if self.pgbench_tps else None

    def as_json(self) -> dict[str, Any]:
        """Return all of it as values that JSON knows."""
        rates = [
            {"accepted_per_s": each.accepted_per_s, "settled_per_s": each.settled_per_s}
            for each in self.measurements
        ]
        rows = [asdict(each) | rate for each, rate in zip(self.measurements, rates, strict=True)]
        return asdict(self) | {"measurements": rows}


def run_on(code: Code, choice: Choice) -> Run:
    """Start this code on new data, and measure what was chosen."""
    with running_stack(code) as stack, open_books(stack.owner_url) as books:
        run = _run_on_stack(stack, books, choice)
    if ONE_BY_ONE.name not in choice.only:
        return run
    with (
        one_by_one(code) as copy,
        running_stack(copy) as stack,
        open_books(stack.owner_url) as books,
    ):
        accounts = make_accounts(stack)
        books.wait_until_settled()
        last = _measured(stack, books, accounts, ONE_BY_ONE, choice, history=0)
    return replace(run, measurements=[*run.measurements, last])


def _run_on_stack(stack: RunningStack, books: Books, choice: Choice) -> Run:
    accounts = make_accounts(stack)
    books.wait_until_settled()
    time.sleep(_REST_S)
    begin, at_rest = books.now(), process_uses(stack)
    tps = _pgbench(stack, choice)
    short = replace(choice, seconds=min(_WARM_UP_S, choice.seconds))
    _measured(stack, books, accounts, SCENARIOS[0], short, history=0)
    measurements, full_scan, loaded = [], None, 0
    for history in choice.histories:
        if (missing := history - books.count_ended()) > 0:
            load_history(stack, accounts, count=missing)
            loaded += missing
        measurements += [
            _measured(stack, books, accounts, each, choice, history=history)
            for each in SCENARIOS
            if each.name in choice.only
        ]
        if SCAN in choice.only and history <= _LARGEST_SCANNED:
            full_scan = run_full_scan(stack, books)
    time.sleep(_REST_S)
    return Run(
        commit=stack.code.label,
        machine=f"{os.cpu_count()} cores, PostgreSQL {server_version(stack)}",
        pgbench_tps=tps + _pgbench(stack, choice),
        measurements=measurements,
        full_scan=full_scan,
        at_rest=at_rest,
        afterwards=process_uses(stack),
        transfers=books.settled_since(begin).committed - loaded,
        bytes_on_disk=books.bytes_on_disk(),
        transfers_on_disk=books.count_ended(),
    )


def _measured(
    stack: RunningStack,
    books: Books,
    accounts: Accounts,
    scenario: LoadScenario,
    choice: Choice,
    *,
    history: int,
) -> Measurement:
    return measure(
        stack,
        books,
        accounts,
        scenario,
        history=history,
        seconds=choice.seconds,
        generator=choice.generator,
    )


def _pgbench(stack: RunningStack, choice: Choice) -> tuple[float, ...]:
    tps = run_pgbench(stack, seconds=choice.seconds) if PGBENCH in choice.only else None
    return () if tps is None else (tps,)
