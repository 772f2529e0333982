"""Scenarios of the benchmark: which load each puts on the API, and how it is measured."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from bench.load.measured import run_load
from bench.load.plan import LoadPlan, LoadResult
from bench.target.accounts import WALLETS, Accounts
from bench.target.processes import process_uses
from bench.target.running_stack import RunningStack
from bench.target.settled import Books, Settled

HOT_WALLETS = 10


@dataclass(frozen=True)
class LoadScenario:
    """One row of the table. See `bench.load.plan` for its fields."""

    name: str
    title: str
    connections: int = 32
    batch: int = 1
    wallets: int = WALLETS
    wait_s: int = 0
    every_s: float = 0.0


SCENARIOS = (
    LoadScenario("singles", "singles, 32 connections"),
    LoadScenario("singles_hot", f"… on {HOT_WALLETS} hot wallets", wallets=HOT_WALLETS),
    LoadScenario("batches", "batches of 500, 4 connections", connections=4, batch=500),
    LoadScenario(
        "batches_hot",
        f"… on {HOT_WALLETS} hot wallets",
        connections=4,
        batch=500,
        wallets=HOT_WALLETS,
    ),
    LoadScenario("idle", "idle, one by one, spaced", connections=1, wait_s=10, every_s=0.1),
    LoadScenario("idle_next", "idle, one by one, back to back", connections=1, wait_s=10),
)


@dataclass(frozen=True)
class Measurement:
    """The result of one scenario. cpu_s: CPU time by process, until all had settled."""

    scenario: str
    title: str
    load: LoadResult
    settled: Settled
    cpu_s: dict[str, float]

    @property
    def accepted_per_s(self) -> float:
        return self.load.accepted / self.load.seconds

    @property
    def settled_per_s(self) -> float:
        return self.settled.committed / self.settled.seconds if self.settled.seconds else 0.0

    def cpu_per_1000_s(self, name: str) -> float:
        """Return the CPU seconds that a process used for 1,000 settled transfers."""
        return self.cpu_s.get(name, 0.0) / max(self.settled.committed, 1) * 1000


def measure(
    stack: RunningStack,
    books: Books,
    accounts: Accounts,
    scenario: LoadScenario,
    *,
    seconds: float,
    generator: str,
) -> Measurement:
    """Put the load on the API, and wait until all that it accepted has ended."""
    plan = LoadPlan(
        port=stack.admin.port,
        api_key=accounts.api_key,
        wallets=accounts.wallets[: scenario.wallets],
        prefix=uuid.uuid4().hex,
        seconds=seconds,
        connections=scenario.connections,
        batch=scenario.batch,
        wait_s=scenario.wait_s,
        every_s=scenario.every_s,
    )
    before, begin = process_uses(stack), books.now()
    load = run_load(plan, generator=generator)
    books.wait_until_settled()
    after = process_uses(stack)
    cpu_s = {
        name: use.cpu_s - (before[name].cpu_s if name in before else 0.0)
        for name, use in after.items()
    }
    cpu_s["load generator"] = load.cpu_s
    return Measurement(scenario.name, scenario.title, load, books.settled_since(begin), cpu_s)
