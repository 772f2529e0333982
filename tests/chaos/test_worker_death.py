"""Worker death: SIGKILL at each boundary of each step loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import pytest

from ledger.states import STEPS, StepName
from tasks import chain
from tasks.broker import queues
from testing.commit_gate import CommitGate, batch_taken_after, gate_before_commit_of
from testing.worker_processes import MONEY, CeleryProcess, eventually
from tests.chaos.scenario import TOO_SHORT_FOR_LINKS_IN_PLACE_S, Scenario, stopped

STEP_NAMES = [step for step, _, _ in STEPS]
REACHED = {step: end for step, _, end in STEPS}

every_step = pytest.mark.parametrize("step", STEP_NAMES)


@dataclass(frozen=True)
class StoppedWorker:
    """A money worker that waits at the gate, just before the commit of a step."""

    celery: CeleryProcess
    gate: CommitGate
    transfer_ids: list[UUID]


@contextmanager
def stopped_before_commit_of(
    scenario: Scenario, step: StepName, *, time_limit_s: float | None = None
) -> Iterator[StoppedWorker]:
    """Submit transfers and stop a worker at the gate; the block kills it."""
    celery = scenario.worker()
    with gate_before_commit_of(scenario.engine, step) as gate:
        ids = scenario.submit(time_limit_s=time_limit_s)
        eventually(gate.waiting)
        yield StoppedWorker(celery, gate, ids)


def a_new_worker_settles(scenario: Scenario, ids: list[UUID]) -> None:
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


@every_step
def test_killed_before_the_commit_the_step_is_done_again(
    scenario: Scenario, step: StepName
) -> None:
    with stopped_before_commit_of(scenario, step) as worker:
        worker.celery.kill_group()
        worker.gate.cut_off()
    assert not scenario.all_in(worker.transfer_ids, REACHED[step])
    a_new_worker_settles(scenario, worker.transfer_ids)


@every_step
def test_what_waits_for_the_money_of_a_killed_step_is_committed_after_it(
    scenario: Scenario, step: StepName
) -> None:
    bank, celery = scenario.bank, scenario.worker()
    a, b = bank.wallet(), bank.wallet()
    asked = [
        bank.request(bank.external["USD"], a, 100, client=bank.admin),
        bank.request(a, b, 60, client=bank.admin),
    ]
    with gate_before_commit_of(scenario.engine, step) as gate:
        ids = bank.accept(*asked)
        chain.kick()
        eventually(gate.waiting)
        celery.kill_group()
        gate.cut_off()
    a_new_worker_settles(scenario, ids)
    assert (bank.look(a).balance, bank.look(b).balance) == (40, 60)


@every_step
def test_killed_while_the_commit_goes_through_its_answer_is_not_missed(
    scenario: Scenario, step: StepName
) -> None:
    with stopped_before_commit_of(scenario, step) as worker:
        worker.celery.kill_group()
        worker.gate.open()  # the server completes the commit although its client is dead
        eventually(lambda: scenario.all_in(worker.transfer_ids, REACHED[step]))
    a_new_worker_settles(scenario, worker.transfer_ids)


@every_step
def test_killed_between_commit_and_publish_the_chain_goes_on(
    scenario: Scenario, step: StepName
) -> None:
    with (
        stopped_before_commit_of(
            scenario, step, time_limit_s=TOO_SHORT_FOR_LINKS_IN_PLACE_S
        ) as worker,
        scenario.broker.process.frozen(),  # so that nothing can be published after the commit
    ):
        worker.gate.open()
        eventually(lambda: scenario.all_in(worker.transfer_ids, REACHED[step]))
        worker.celery.kill_group()
    a_new_worker_settles(scenario, worker.transfer_ids)


@every_step
def test_killed_between_publish_and_acknowledge_the_step_is_not_doubled(
    scenario: Scenario, step: StepName
) -> None:
    with stopped_before_commit_of(
        scenario, step, time_limit_s=TOO_SHORT_FOR_LINKS_IN_PLACE_S
    ) as worker:
        # Children publish and their parent acknowledges: with the parent stopped, only the
        # publish happens.
        with stopped(worker.celery.pid):
            worker.gate.open()
            eventually(lambda: scenario.all_in(worker.transfer_ids, REACHED[step]))
            if step != "commit":
                eventually(lambda: scenario.broker.waiting(queues.ADVANCE) == 1)
            eventually(scenario.broker.unacknowledged)
            worker.celery.process.kill()
        worker.celery.kill_group()
    a_new_worker_settles(scenario, worker.transfer_ids)


@pytest.mark.parametrize("step", STEP_NAMES[:-1])
def test_killed_between_two_links_in_one_process_the_chain_goes_on(
    scenario: Scenario, step: StepName
) -> None:
    with (
        stopped_before_commit_of(scenario, step) as worker,
        scenario.broker.process.frozen(),  # so that no message can bring the next link
    ):
        [session] = worker.gate.waiting()
        with batch_taken_after(scenario.engine, session) as taken:
            worker.gate.open()
            eventually(lambda: taken.waiting() == [session])
            assert scenario.all_in(worker.transfer_ids, REACHED[step])
            worker.celery.kill_group()
            taken.cut_off()
    # Either the recovery scan brings the chain on, or the broker, with its first message again.
    a_new_worker_settles(scenario, worker.transfer_ids)


def test_killed_before_it_acknowledges_a_run_of_links_nothing_is_doubled(
    scenario: Scenario,
) -> None:
    with (
        stopped_before_commit_of(scenario, "reserve") as worker,
        stopped(worker.celery.pid),  # the children run the links, their parent acknowledges
    ):
        worker.gate.open()
        eventually(lambda: scenario.all_in(worker.transfer_ids, "committed"))
        assert scenario.broker.waiting(queues.ADVANCE) == 0
        eventually(scenario.broker.unacknowledged)
        worker.celery.process.kill()
    worker.celery.kill_group()
    a_new_worker_settles(scenario, worker.transfer_ids)
