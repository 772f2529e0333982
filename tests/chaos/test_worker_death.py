"""Worker death: SIGKILL at each boundary of each step loses and doubles nothing."""

from __future__ import annotations

import pytest

from ledger.states import STEPS, StepName
from tasks.broker import queues
from testing.commit_gate import gate_before_commit_of
from testing.worker_processes import MONEY, eventually
from tests.chaos.scenario import Scenario, stopped

STEP_NAMES = [step for step, _, _ in STEPS]
REACHED = {step: end for step, _, end in STEPS}

every_step = pytest.mark.parametrize("step", STEP_NAMES)


@every_step
def test_killed_before_the_commit_the_step_is_done_again(
    scenario: Scenario, step: StepName
) -> None:
    worker = scenario.worker()
    with gate_before_commit_of(scenario.engine, step) as gate:
        ids = scenario.submit()
        eventually(gate.waiting)
        worker.kill_group()
        gate.cut_off()
    assert not scenario.all_in(ids, REACHED[step])
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


@every_step
def test_killed_while_the_commit_goes_through_its_answer_is_not_missed(
    scenario: Scenario, step: StepName
) -> None:
    worker = scenario.worker()
    with gate_before_commit_of(scenario.engine, step) as gate:
        ids = scenario.submit()
        eventually(gate.waiting)
        worker.kill_group()
        gate.open()  # the server completes the commit although its client is dead
        eventually(lambda: scenario.all_in(ids, REACHED[step]))
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


@every_step
def test_killed_between_commit_and_publish_the_chain_goes_on(
    scenario: Scenario, step: StepName
) -> None:
    worker = scenario.worker()
    with gate_before_commit_of(scenario.engine, step) as gate:
        ids = scenario.submit()
        eventually(gate.waiting)
        with scenario.broker.process.frozen():  # so that nothing can be published after the commit
            gate.open()
            eventually(lambda: scenario.all_in(ids, REACHED[step]))
            worker.kill_group()
    scenario.workers.ready(MONEY)
    scenario.settles(ids)


@every_step
def test_killed_between_publish_and_acknowledge_the_step_is_not_doubled(
    scenario: Scenario, step: StepName
) -> None:
    worker = scenario.worker()
    with gate_before_commit_of(scenario.engine, step) as gate:
        ids = scenario.submit()
        eventually(gate.waiting)
        # Children publish and their parent acknowledges: with the parent stopped, only the
        # publish happens.
        with stopped(worker.pid):
            gate.open()
            eventually(lambda: scenario.all_in(ids, REACHED[step]))
            if step != "commit":
                eventually(lambda: scenario.broker.waiting(queues.ADVANCE) == 1)
            eventually(scenario.broker.unacknowledged)
            worker.process.kill()
        worker.kill_group()
    scenario.workers.ready(MONEY)
    scenario.settles(ids)
