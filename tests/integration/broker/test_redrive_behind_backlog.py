"""Re-drives behind a backlog: transfers that lost their message go on, and messages stay few."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from celery import Celery
from sqlalchemy import Engine, text

from ledger.ids import new_id
from ledger.postgres.database import transaction
from settings import Settings
from tasks import chain, recovery
from tasks.broker import queues
from tasks.recovery import MAX_WAITING_BATCHES
from testing.bank import Bank
from testing.servers.brokers import Broker
from testing.worker_processes import SCANS, Workers, eventually, workers_on
from workers.celery_app import make_celery


@pytest.fixture
def workers(
    own_database_url: str, broker: Broker, cache_url: str, tmp_path: Path
) -> Iterator[Workers]:
    """Start a scans worker without beat and without a money worker: the backlog stays."""
    with workers_on(own_database_url, broker.url, cache_url, tmp_path) as started:
        started.ready(SCANS)
        yield started


@pytest.fixture
def app(workers: Workers) -> Celery:
    return make_celery(Settings.from_environment(workers.environment))


def batch_of(engine: Engine, transfer_id: UUID) -> UUID:
    with transaction(engine) as connection:
        query = text("SELECT batch_id FROM unfinished WHERE transfer_id = :id")
        batch: UUID = connection.execute(query, {"id": transfer_id}).scalar_one()
    return batch


@pytest.mark.usefixtures("app")
def test_what_was_set_aside_or_lost_its_message_goes_on_behind_a_full_queue(
    bank: Bank, engine: Engine, broker: Broker
) -> None:
    blocked, source, destination = bank.wallet(1_000), bank.wallet(1_000), bank.wallet()
    requests = [bank.request(each, destination, 1) for each in (blocked, source, source)]
    for request in requests:
        bank.reach("reserved", request)
    aside, lost, driven_before = bank.accept(*requests)  # repeats: their ids
    with transaction(engine) as connection:
        connection.execute(text("UPDATE unfinished SET moved_at = now() - interval '1 hour'"))
        connection.execute(
            text("UPDATE unfinished SET redrives = 1 WHERE transfer_id IN (:aside, :driven)"),
            {"aside": aside, "driven": driven_before},
        )
        connection.execute(  # its lock is gone
            text("""WITH one AS (INSERT INTO blocked_wallets (wallet_id) VALUES (:wallet))
                    UPDATE unfinished SET blocked_by = :wallet WHERE transfer_id = :aside"""),
            {"wallet": blocked.id, "aside": aside},
        )
    for _ in range(MAX_WAITING_BATCHES):
        chain.task_for_batch(chain.rollback, new_id()).apply_async()
    eventually(lambda: broker.waiting(queues.ADVANCE) == MAX_WAITING_BATCHES)
    before = {id: batch_of(engine, id) for id in (aside, lost, driven_before)}

    recovery.recover.apply_async()

    eventually(lambda: batch_of(engine, aside) != before[aside])
    eventually(lambda: batch_of(engine, lost) != before[lost])
    assert batch_of(engine, driven_before) == before[driven_before], "its message may be waiting"
    eventually(lambda: broker.waiting(queues.ADVANCE) == MAX_WAITING_BATCHES + 1)  # for both
    with transaction(engine) as connection:
        connection.execute(text("UPDATE unfinished SET moved_at = now() - interval '1 hour'"))
    for _ in range(3):  # the workers are gone: the messages must not become more
        recovery.recover.apply_async()
    eventually(lambda: broker.waiting(queues.SCANS) == 0)
    eventually(lambda: broker.unacknowledged() == 0)
    assert broker.waiting(queues.ADVANCE) == MAX_WAITING_BATCHES + 1
    broker.purge(queues.ADVANCE)
    recovery.recover.apply_async()
    eventually(lambda: batch_of(engine, driven_before) != before[driven_before])
