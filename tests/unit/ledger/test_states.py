"""States of a transfer, and the steps between them."""

from __future__ import annotations

from typing import get_args

import pytest

from ledger.movements import MOVEMENTS
from ledger.states import FINISHED, STEPS, UNFINISHED, State, StepName, steps_from


def test_every_state_is_either_unfinished_or_finished() -> None:
    assert sorted(UNFINISHED + FINISHED) == sorted(get_args(State))


def test_the_steps_form_one_path_from_accepted_to_committed() -> None:
    assert [step for step, _, _ in STEPS] == list(get_args(StepName))
    assert [start for _, start, _ in STEPS] == list(UNFINISHED)
    assert [end for _, _, end in STEPS] == [*UNFINISHED[1:], "committed"]


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        ("accepted", ("reserve", "deduct", "credit", "commit")),
        ("reserved", ("deduct", "credit", "commit")),
        ("deducted", ("credit", "commit")),
        ("credited", ("commit",)),
        ("committed", ()),
        ("rejected", ()),
        ("rolled_back", ()),
    ],
)
def test_the_steps_that_are_left(state: State, steps: tuple[StepName, ...]) -> None:
    assert steps_from(state) == steps


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_a_movement_takes_from_one_wallet_what_it_gives_to_another(movement: str) -> None:
    effects = MOVEMENTS[movement]  # type: ignore[index]
    balances = sorted(effect.balance for effect in effects if effect.balance)
    assert balances in ([], [-1, 1])


@pytest.mark.parametrize(("forth", "back"), [("reserve", "release"), ("credit", "uncredit")])
def test_a_rollback_undoes_exactly_what_was_done(forth: str, back: str) -> None:
    assert _sums(forth) == {key: -value for key, value in _sums(back).items()}


def test_a_refund_undoes_the_reserve_and_the_deduct_together() -> None:
    undone = _sums("reserve", "deduct", "refund")
    assert set(undone.values()) == {0}


def test_a_whole_chain_moves_the_amount_and_leaves_nothing_held() -> None:
    moved = _sums("reserve", "deduct", "credit", "commit")
    left = {key: value for key, value in moved.items() if value}
    assert left == {("source", "balance"): -1, ("destination", "balance"): 1}


def _sums(*movements: str) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for movement in movements:
        for effect in MOVEMENTS[movement]:  # type: ignore[index]
            for field in ("balance", "reserved", "incoming"):
                key = (effect.role, field)
                sums[key] = sums.get(key, 0) + getattr(effect, field)
    return {key: value for key, value in sums.items() if value or len(movements) > 1}
