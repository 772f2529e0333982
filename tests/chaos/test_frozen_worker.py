"""Frozen workers: one that stands still with wallets locked holds them up for seconds only."""

from __future__ import annotations

import os
import signal

from sqlalchemy import text

from ledger.postgres.database import autocommit
from tasks import chain
from testing.wallet_lock import locked
from testing.worker_processes import MONEY, eventually
from tests.chaos.scenario import Scenario

WITHIN_S = 15.0


def waits_for_a_lock(scenario: Scenario) -> bool:
    query = text(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND state = 'active')"
    )
    with autocommit(scenario.engine) as connection:
        return bool(connection.scalar(query))


def test_a_worker_that_freezes_with_a_wallet_locked_holds_it_up_for_seconds(
    scenario: Scenario,
) -> None:
    bank = scenario.bank
    source, destination = bank.wallet(1_000), bank.wallet()
    frozen = scenario.worker()
    with locked(scenario.engine, source):
        [its_own] = bank.accept(bank.request(source, destination, 100))
        chain.kick()
        eventually(lambda: waits_for_a_lock(scenario))
        os.killpg(frozen.pid, signal.SIGSTOP)
    # Its session has the lock on the wallet now, and nobody who would end the transaction.
    try:
        scenario.workers.ready(MONEY)
        [anothers] = bank.accept(bank.request(source, destination, 100))
        chain.kick()
        ids = [its_own, anothers]
        eventually(lambda: scenario.all_in(ids, "committed"), within_s=WITHIN_S)
    finally:
        os.killpg(frozen.pid, signal.SIGCONT)
    scenario.settles(ids)
