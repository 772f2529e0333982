"""Fixtures of chaos tests: a database per module and kind of broker, a scan worker, beat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ledger.postgres.database import build_engine
from settings import Settings
from testing.bank import Bank
from testing.servers.brokers import Broker
from testing.worker_processes import BEAT, SCANS, Workers, eventually, workers_on
from tests.chaos.scenario import Scenario
from workers.celery_app import make_celery


@pytest.fixture(scope="module")
def chaos_engine(module_database_url: str) -> Iterator[Engine]:
    engine = build_engine(module_database_url, application_name="chaos test")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def chaos_bank(chaos_engine: Engine) -> Bank:
    return Bank(chaos_engine)


@pytest.fixture(scope="module")
def workers(
    module_database_url: str,
    broker: Broker,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workers]:
    """Start beat and the scanning worker; each test starts the money workers it needs."""
    folder: Path = tmp_path_factory.mktemp("workers")
    with workers_on(module_database_url, broker.url, cache_url, folder) as started:
        started.start(BEAT)
        started.ready(SCANS)
        yield started


@pytest.fixture(scope="module")
def scenario(chaos_engine: Engine, chaos_bank: Bank, broker: Broker, workers: Workers) -> Scenario:
    # The Celery application for publishing from this process.
    app = make_celery(Settings.from_environment(workers.environment))
    chaos_bank.external["USD"] = chaos_bank.wallet(kind="external", owner=chaos_bank.admin)
    return Scenario(chaos_engine, chaos_bank, broker, workers, app)


@pytest.fixture(autouse=True)
def nothing_left_over(scenario: Scenario) -> None:
    """Settle what an earlier test left unfinished: it would stop at this test's gate."""
    if scenario.bank.unfinished():
        scenario.worker()
        eventually(lambda: not scenario.bank.unfinished(), within_s=30)
