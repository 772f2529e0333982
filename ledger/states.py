"""States of a transfer, and the steps between them, as one table."""

from __future__ import annotations

from typing import Final, Literal

UnfinishedState = Literal["accepted", "reserved", "deducted", "credited"]
State = Literal[UnfinishedState, "committed", "rejected", "rolled_back"]
StepName = Literal["reserve", "deduct", "credit", "commit"]

UNFINISHED: Final[tuple[State, ...]] = ("accepted", "reserved", "deducted", "credited")
FINISHED: Final[tuple[State, ...]] = ("committed", "rejected", "rolled_back")

STEPS: Final[tuple[tuple[StepName, State, State], ...]] = (
    ("reserve", "accepted", "reserved"),
    ("deduct", "reserved", "deducted"),
    ("credit", "deducted", "credited"),
    ("commit", "credited", "committed"),
)
"""(step, the only state it moves a transfer from, the state it moves it to), in chain order."""


def steps_from(state: State) -> tuple[StepName, ...]:
    """Return the steps that a transfer in `state` has yet to take, in order; () when finished."""
    return tuple(step for step, _, _ in STEPS)[_position(state) :]


def _position(state: State) -> int:
    return UNFINISHED.index(state) if state in UNFINISHED else len(STEPS)
