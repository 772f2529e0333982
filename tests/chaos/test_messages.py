"""Messages that are lost, doubled, late or out of order, and errors of a single transfer."""

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
from testing.worker_processes import MONEY, eventually
from tests.chaos.scene import Scene, stopped


def test_every_message_delivered_three_times_moves_money_once(scene: Scene) -> None:
    scene.no_worker()
    ids = scene.accept(20)
    batch = str(new_id())
    for _ in range(3):
        chain.chain_from("accepted", batch_id=new_id()).apply_async()
        for link in (chain.reserve, chain.deduct, chain.credit, chain.commit, chain.rollback):
            link.si(batch).apply_async()
    scene.workers.ready(MONEY, MONEY)
    scene.settles(ids)


def test_messages_in_the_wrong_order_do_no_harm(scene: Scene) -> None:
    scene.no_worker()
    ids = scene.accept(20)
    batch = str(new_id())
    for link in (chain.rollback, chain.commit, chain.credit, chain.deduct, chain.reserve):
        link.si(batch).apply_async()
    scene.workers.ready(MONEY)
    scene.settles(ids)


def test_a_lost_kick_is_made_up_for(scene: Scene) -> None:
    scene.no_worker()
    ids = scene.submit()
    assert scene.broker.purge(queues.RESERVE) == 1
    scene.workers.ready(MONEY)
    scene.settles(ids)


def test_a_lost_link_is_found_by_the_recovery_scan(scene: Scene) -> None:
    worker = scene.worker()
    with gate_before_commit_of(scene.engine, "deduct") as gate:
        ids = scene.submit()
        eventually(gate.waiting)
        with stopped(worker.pid):
            gate.open()
            eventually(lambda: scene.broker.waiting(queues.ADVANCE) == 1)
            assert scene.broker.purge(queues.ADVANCE) == 1
    scene.settles(ids)
    assert all("redriven" in scene.bank.timeline(id) for id in ids)


def test_a_broker_emptied_in_mid_flight_loses_nothing(scene: Scene) -> None:
    scene.worker()
    ids = []
    for _ in range(10):
        ids += scene.submit(50)
        scene.broker.empty()
    scene.settles(ids)


def test_rollback_of_a_healthy_batch_changes_nothing(scene: Scene) -> None:
    scene.worker()
    with gate_before_commit_of(scene.engine, "credit") as gate:
        ids = scene.submit()
        eventually(gate.waiting)
        with transaction(scene.engine) as connection:
            batches = connection.scalars(text("SELECT DISTINCT batch_id FROM unfinished")).all()
        for batch in batches:  # as if a link had failed after its step committed
            chain.rollback.si(str(batch)).apply_async()
        gate.open()
        scene.settles(ids)


def test_a_destination_frozen_under_way_gives_the_source_its_money_back(scene: Scene) -> None:
    scene.worker()
    bank = scene.bank
    source, destination = bank.wallet(), bank.wallet()
    scene.settles(_fund(scene, source, 1_000))
    with gate_before_commit_of(scene.engine, "deduct") as gate:
        [id] = bank.accept(bank.request(source, destination, 400))
        chain.kick()
        eventually(gate.waiting)
        with transaction(scene.engine) as connection:
            wallets.freeze(connection, destination.id)
        gate.open()
        scene.settles([id], "rolled_back")
    assert bank.look(source).available == 1_000
    assert bank.look(destination).balance == 0
    failure = bank.transfer(id).failure
    assert failure is not None
    assert failure.code == "rolled_back"
    assert "frozen" in failure.detail
    assert bank.timeline(id)[-2:] == ["failed", "rolled_back"]


def test_a_poisoned_transfer_is_rolled_back_alone(scene: Scene) -> None:
    scene.worker()
    with _poison(scene, amount_minor=66_600):
        healthy = scene.accept(24)
        [poisoned] = scene.accept(1, amount_minor=66_600)
        healthy += scene.accept(25)
        chain.kick()
        scene.settles([poisoned], "rolled_back")
        scene.settles(healthy)
    assert "failed" in scene.bank.timeline(poisoned)


def _fund(scene: Scene, wallet: wallets.Wallet, amount_minor: int) -> list[UUID]:
    bank = scene.bank
    request = bank.request(bank.external["USD"], wallet, amount_minor, client=bank.admin)
    ids = bank.accept(request)
    chain.kick()
    return ids


@contextmanager
def _poison(scene: Scene, *, amount_minor: int) -> Iterator[None]:
    """A real database error for every credit of this amount, which is nobody's plan."""
    with scene.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (
            """CREATE OR REPLACE FUNCTION test_poison() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$""",
            f"""CREATE TRIGGER test_poison BEFORE INSERT ON postings FOR EACH ROW
                WHEN (NEW.leg = 'credit' AND NEW.amount = {amount_minor})
                EXECUTE FUNCTION test_poison()""",
        ):
            connection.execute(text(statement))
        try:
            yield
        finally:
            connection.execute(text("DROP TRIGGER test_poison ON postings"))


def test_a_step_that_runs_into_its_time_limit_is_tried_again_not_rolled_back(scene: Scene) -> None:
    worker, batch = scene.worker(), new_id()
    with scene.engine.connect() as connection:
        [id] = scene.accept(1)
        scene.bank.step("reserve", batch)
        held = text("SELECT 1 FROM wallets WHERE id = :id FOR NO KEY UPDATE")
        connection.execute(held, {"id": scene.bank.external["USD"].id})
        chain.deduct.si(str(batch)).apply_async(soft_time_limit=1)
        eventually(lambda: "Soft time limit" in worker.log.read_text())
    scene.settles([id])
