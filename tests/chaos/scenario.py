"""Scenario of a chaos test: a bank, a broker, and workers that the test can kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Celery
from sqlalchemy import Engine

from ledger.ids import new_id
from tasks import chain
from tasks.in_place import LINK_S
from testing.bank import Bank
from testing.servers.brokers import Broker
from testing.worker_processes import MONEY, CeleryProcess, Workers, eventually

SETTLE_WITHIN_S = 30.0
TOO_SHORT_FOR_LINKS_IN_PLACE_S = LINK_S - 10
"""A time limit with which each link goes through the broker."""


@dataclass
class Scenario:
    """One database and one broker; beat and a scanning worker run all the time."""

    engine: Engine
    bank: Bank
    broker: Broker
    workers: Workers
    app: Celery

    def worker(self) -> CeleryProcess:
        """Return the live money worker; start one if there is none."""
        alive = [each for each in self.workers.started if each.is_money_alive]
        return alive[0] if alive else self.workers.ready(MONEY)[0]

    def no_worker(self) -> None:
        for each in self.workers.started:
            if each.is_money_alive:
                each.kill_group()

    def submit(
        self, count: int = 5, amount_minor: int = 100, *, time_limit_s: float | None = None
    ) -> list[UUID]:
        """Accept transfers into a new wallet and kick, as the API does.

        time_limit_s: the soft limit of each link; below LINK_S each goes through the broker.
        """
        ids = self.accept(count, amount_minor)
        links: Any = chain.chain_from("accepted", new_id())
        for link in links.tasks:
            link.set(soft_time_limit=time_limit_s)
        links.apply_async()
        return ids

    def accept(self, count: int = 5, amount_minor: int = 100) -> list[UUID]:
        source, destination = self.bank.external["USD"], self.bank.wallet()
        return self.bank.accept(
            *(
                self.bank.request(source, destination, amount_minor, client=self.bank.admin)
                for _ in range(count)
            )
        )

    def all_in(self, ids: Sequence[UUID], *states: str) -> bool:
        return all(self.bank.state(id) in states for id in ids)

    def settles(self, ids: Sequence[UUID], *states: str) -> None:
        """Wait until all transfers are committed, or in one of `states`; then audit the ledger."""
        wanted = states or ("committed",)
        eventually(lambda: self.all_in(ids, *wanted), within_s=SETTLE_WITHIN_S)
        self.bank.audit()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Send SIGSTOP to one process, and SIGCONT at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
