"""Faults inside a batch: a death or a freeze between two steps, and messages that come twice.

A step is stopped in the database before its commit (`testing/commit_gate.py`), and then between
its commit and the next step, so that these faults hit the moment that they are named after.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from ledger import wallets
from ledger.postgres.database import build_engine, transaction
from ledger.postgres.running_steps import lock_key
from settings import Settings
from tasks import chain
from testing.commit_gate import CommitGate, batch_taken_after, gate_before_commit_of
from testing.storm.installation import MONEY
from testing.storm.plan import Fault
from testing.storm.scene import NotNow, Scene
from workers.celery_app import make_celery

STEPS = {"reserve": "reserved", "deduct": "deducted", "credit": "credited"}
"""The steps after which another link comes, and the state in which they leave a transfer."""
_WITHIN_S = 3.0
_ROLLED_BACK_WITHIN_S = 6.0
_COPIES = 2


@contextmanager
def killed_between_commit_and_publish(scene: Scene, fault: Fault) -> Iterator[None]:
    """Kill all workers when a step has committed, before the next step or any message."""
    installation = scene.installation
    step = [*STEPS][fault.victim % len(STEPS)]
    with _own_engine(scene) as engine, gate_before_commit_of(engine, step) as gate:
        session = _held_up(gate, step)
        # Only now: a worker gets no step to run from a broker that is frozen.
        with (
            installation.broker.process.frozen(),
            _after_commit(engine, gate, session, step) as taken,
        ):
            for role in MONEY:
                if installation.running[role].is_alive:
                    installation.running[role].kill_group()
            taken.cut_off()
    yield


@contextmanager
def destination_frozen(scene: Scene, _: Fault) -> Iterator[None]:
    """Freeze a wallet that has just been credited, until its transfer is rolled back for that."""
    with _own_engine(scene) as engine:
        with (
            gate_before_commit_of(engine, "credit") as gate,
            _after_commit(engine, gate, _held_up(gate, "credit"), "credit") as taken,
            transaction(engine) as connection,
        ):
            held = credited_in(connection, taken.key)
            if held is None:
                raise NotNow("no credit to a customer came by")
            transfer_id, wallet_id = held
            wallets.freeze(connection, wallet_id)
        try:
            # Somebody else may unfreeze the wallet, or what is on its way end otherwise.
            _wait_until_rolled_back(engine, transfer_id)
            yield
        finally:
            with transaction(engine) as connection:
                wallets.unfreeze(connection, wallet_id)


def credited_in(connection: Connection, key: int) -> tuple[UUID, UUID] | None:
    """Return a transfer of the batch with this lock, credited to a customer, and that wallet.

    Only that batch is held up: those of other workers may be committed before they notice.
    """
    credited = text(
        "SELECT u.batch_id, u.transfer_id, u.destination_id FROM unfinished u"
        " JOIN wallets w ON w.id = u.destination_id"
        " WHERE u.state = 'credited' AND u.failure_code IS NULL AND w.kind = 'customer'"
    )
    for row in connection.execute(credited):
        if lock_key(row.batch_id) == key:
            return row.transfer_id, row.destination_id
    return None


def _wait_until_rolled_back(engine: Engine, transfer_id: UUID) -> None:
    end = text("SELECT state FROM outcomes WHERE transfer_id = :id")
    until_s = time.monotonic() + _ROLLED_BACK_WITHIN_S
    while True:
        with transaction(engine) as connection:
            state = connection.scalar(end, {"id": transfer_id})
        if state is not None:
            break
        _check(until_s, "what was credited was not rolled back")
    if state != "rolled_back":
        raise NotNow("what was credited was committed")


@contextmanager
def messages_doubled(scene: Scene, _: Fault) -> Iterator[None]:
    """Send every link of each batch on its way again, and its rollback, as a broker may."""
    installation = scene.installation
    batches = text("SELECT DISTINCT batch_id FROM unfinished WHERE batch_id IS NOT NULL")
    make_celery(Settings.from_environment(installation.direct))
    with installation.engine.connect() as connection:
        on_their_way = connection.scalars(batches).all()
    if not on_their_way:
        raise NotNow("nothing is on its way")
    for batch in on_their_way:
        for link in (chain.reserve, chain.deduct, chain.credit, chain.commit, chain.rollback):
            for _copy in range(_COPIES):
                link.si(str(batch)).apply_async()
    yield


@contextmanager
def _own_engine(scene: Scene) -> Iterator[Engine]:
    url = scene.installation.replicas.primary.url
    engine = build_engine(url, application_name="storm gate", pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()


def _held_up(gate: CommitGate, step: str) -> int:
    """Wait until a step is at the gate. Returns: the id of its server process."""
    until_s = time.monotonic() + _WITHIN_S
    while not (waiting := gate.waiting()):
        _check(until_s, f"no {step} came by")
    return waiting[0]


@contextmanager
def _after_commit(
    engine: Engine, gate: CommitGate, session: int, step: str
) -> Iterator[CommitGate]:
    """Let the step commit, and hold its batch up before the next step, for the block.

    What the worker publishes between the two may take as long as the broker does.
    """
    left = text("SELECT EXISTS (SELECT FROM unfinished WHERE state = :state)")
    with batch_taken_after(engine, session) as taken:
        gate.open()
        until_s = time.monotonic() + _WITHIN_S
        while not taken.is_closed():
            _check(until_s, f"a {step} did not end")
        if not taken.watcher.scalar(left, {"state": STEPS[step]}):
            raise NotNow(f"a {step} did not commit")
        yield taken


def _check(until_s: float, otherwise: str) -> None:
    if time.monotonic() > until_s:
        raise NotNow(otherwise)
    time.sleep(0.02)
