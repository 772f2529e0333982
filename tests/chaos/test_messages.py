"""Message faults: lost, duplicated, late or out of order; and errors of a single transfer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import text

from ledger import wallets
from ledger.ids import new_id
from ledger.postgres.database import transaction
from tasks import chain
from tasks.broker import queues
from testing.commit_gate import gate_before_commit_of
from testing.servers.databases import owner_engine
from testing.worker_processes import MONEY, eventually
from tests.chaos.scenario import TOO_SHORT_FOR_LINKS_IN_PLACE_S, Scenario, stopped


def test_every_message_delivered_three_times_moves_money_once(scenario: Scenario) -> None:
    scenario.no_worker()
    ids = scenario.accept(20)
    batch = str(new_id())
    for _ in range(3):
        chain.chain_from("accepted", batch_id=new_id()).apply_async()
        for link in (chain.reserve, chain.deduct, chain.credit, chain.commit, chain.rollback):
            link.si(batch).apply_async()
    scenario.workers.ready(MONEY, MONEY)
    scenario.settles(ids)


def test_messages_in_the_wrong_order_do_no_harm(scenario: Scenario) -> None:
    scenario.no_worker()
    ids = scenario.accept(20)
    batch = str(new_id())
    for link in (chain.rollback, chain.commit, chain.credit, chain.deduct, chain.reserve):
        link.si(batch).apply_async()
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


def test_a_lost_kick_is_replaced_by_a_scan(scenario: Scenario) -> None:
    scenario.no_worker()
    ids = scenario.submit()
    assert scenario.broker.purge(queues.RESERVE) == 1
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


def test_a_lost_link_is_found_by_the_recovery_scan(scenario: Scenario) -> None:
    worker = scenario.worker()
    with gate_before_commit_of(scenario.engine, "deduct") as gate:
        ids = scenario.submit(time_limit_s=TOO_SHORT_FOR_LINKS_IN_PLACE_S)
        eventually(gate.waiting)
        with stopped(worker.pid):
            gate.open()
            eventually(lambda: scenario.broker.waiting(queues.ADVANCE) == 1)
            assert scenario.broker.purge(queues.ADVANCE) == 1
    scenario.settles(ids)
    assert all("redriven" in scenario.bank.timeline(id) for id in ids)


def test_a_broker_emptied_in_mid_flight_loses_nothing(scenario: Scenario) -> None:
    scenario.worker()
    ids = []
    for _ in range(10):
        ids += scenario.submit(50)
        scenario.broker.empty()
    scenario.settles(ids)


def test_rollback_of_a_healthy_batch_changes_nothing(scenario: Scenario) -> None:
    scenario.worker()
    with gate_before_commit_of(scenario.engine, "credit") as gate:
        ids = scenario.submit()
        eventually(gate.waiting)
        with transaction(scenario.engine) as connection:
            batches = connection.scalars(text("SELECT DISTINCT batch_id FROM unfinished")).all()
        for batch in batches:  # as if a link had failed after its step committed
            chain.rollback.si(str(batch)).apply_async()
        gate.open()
        scenario.settles(ids)


def test_a_destination_frozen_under_way_refunds_the_source(scenario: Scenario) -> None:
    scenario.worker()
    bank = scenario.bank
    source, destination = bank.wallet(), bank.wallet()
    scenario.settles(_fund(scenario, source, 1_000))
    with gate_before_commit_of(scenario.engine, "deduct") as gate:
        [id] = bank.accept(bank.request(source, destination, 400))
        chain.kick()
        eventually(gate.waiting)
        with transaction(scenario.engine) as connection:
            wallets.freeze(connection, destination.id)
        gate.open()
        scenario.settles([id], "rolled_back")
    assert bank.look(source).available == 1_000
    assert bank.look(destination).balance == 0
    failure = bank.transfer(id).failure
    assert failure is not None
    assert failure.code == "rolled_back"
    assert "frozen" in failure.detail
    assert bank.timeline(id)[-2:] == ["failed", "rolled_back"]


def test_a_poisoned_transfer_is_rolled_back_alone(scenario: Scenario) -> None:
    scenario.worker()
    with _poison(scenario, amount_minor=66_600):
        healthy = scenario.accept(24)
        [poisoned] = scenario.accept(1, amount_minor=66_600)
        healthy += scenario.accept(25)
        chain.kick()
        scenario.settles([poisoned], "rolled_back")
        scenario.settles(healthy)
    assert "failed" in scenario.bank.timeline(poisoned)


def test_a_batch_whose_statement_takes_too_long_is_cut_until_only_the_cause_waits(
    scenario: Scenario,
) -> None:
    worker = scenario.worker()
    with _poison(scenario, amount_minor=66_600, sqlstate="57014"):  # as at a statement's time-out
        healthy = scenario.accept(24)
        [slow] = scenario.accept(1, amount_minor=66_600)
        healthy += scenario.accept(25)
        chain.kick()
        scenario.settles(healthy)
        assert scenario.bank.state(slow) == "deducted"
        assert '"event": "batch_halved"' in worker.log.read_text()
    scenario.settles([slow])


def _fund(scenario: Scenario, wallet: wallets.Wallet, amount_minor: int) -> list[UUID]:
    bank = scenario.bank
    request = bank.request(bank.external["USD"], wallet, amount_minor, client=bank.admin)
    ids = bank.accept(request)
    chain.kick()
    return ids


@contextmanager
def _poison(scenario: Scenario, *, amount_minor: int, sqlstate: str = "P0001") -> Iterator[None]:
    """Make every credit of this amount fail with a real, unexpected database error."""
    with (
        owner_engine(scenario.engine) as owner,
        owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        for statement in (
            f"""CREATE OR REPLACE FUNCTION test_poison() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'poisoned' USING ERRCODE = '{sqlstate}'; END $$""",
            f"""CREATE TRIGGER test_poison BEFORE INSERT ON postings FOR EACH ROW
                WHEN (NEW.leg = 'credit' AND NEW.amount = {amount_minor})
                EXECUTE FUNCTION test_poison()""",
        ):
            connection.execute(text(statement))
        try:
            yield
        finally:
            connection.execute(text("DROP TRIGGER test_poison ON postings"))


def test_a_step_that_runs_into_its_time_limit_is_tried_again_not_rolled_back(
    scenario: Scenario,
) -> None:
    worker, batch = scenario.worker(), new_id()
    with scenario.engine.connect() as connection:
        [id] = scenario.accept(1)
        scenario.bank.step("reserve", batch)
        held = text("SELECT 1 FROM wallets WHERE id = :id FOR NO KEY UPDATE")
        connection.execute(held, {"id": scenario.bank.external["USD"].id})
        chain.deduct.si(str(batch)).apply_async(soft_time_limit=1)
        eventually(lambda: "Soft time limit" in worker.log.read_text())
    scenario.settles([id])


def test_a_wait_that_cannot_be_ended_now_stops_no_other_transfer(scenario: Scenario) -> None:
    """Its row is locked, for longer than a step and the release after it would wait."""
    scenario.no_worker()
    bank = scenario.bank
    source, middle, last = bank.wallet(), bank.wallet(), bank.wallet()
    funded = _fund(scenario, source, 100)
    scenario.workers.ready(MONEY)
    scenario.settles(funded)
    scenario.no_worker()
    [brings] = bank.accept(bank.request(source, middle, 100))
    [short] = bank.accept(bank.request(middle, last, 60))
    with transaction(scenario.engine) as connection:
        wallets.freeze(connection, source.id)  # so reserve rejects what brings the money
        waits_for = text("UPDATE unfinished SET waits_for = :first WHERE transfer_id = :id")
        connection.execute(waits_for, {"first": brings, "id": short})
    healthy = scenario.accept(5)
    with scenario.engine.connect() as connection:
        locked = text("SELECT FROM unfinished WHERE transfer_id = :id FOR UPDATE")
        connection.execute(locked, {"id": short})
        worker = scenario.worker()
        chain.kick()
        scenario.settles(healthy)
        assert not any("redriven" in bank.timeline(id) for id in healthy)
        assert bank.state(brings) == "rejected"
        assert '"event": "waits_not_released"' in worker.log.read_text()
    scenario.settles([short], "rejected")
