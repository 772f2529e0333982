"""Intake: handing checked requests to the ledger, and telling the workers."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from ledger.database import transaction
from ledger.errors import Invalid
from ledger.intake import Answer, TransferRequest, accept
from ledger.states import FINISHED


class Intake:
    """Submits transfer requests."""

    def __init__(self, engine: Engine, kick: Callable[[], None]) -> None:
        """Take what to store with and whom to tell.

        kick: tells the workers that there is work; never blocks, never raises.
        """
        self._engine = engine
        self._kick = kick

    def submit(self, requests: list[TransferRequest]) -> list[Answer | Invalid]:
        """Record each request, or find the transfer that its key stands for already.

        Returns: per request, in order, what `ledger.intake.accept` answers.
        Raises: Unavailable: when nothing was recorded, or the commit's answer was lost; a
        repeat tells, for a second call with the same requests changes nothing.
        """
        with transaction(self._engine) as connection:
            answers = accept(connection, requests)
        # After the commit: a worker that comes earlier would not see the rows.
        if any(map(_is_new_work, answers)):
            self._kick()
        return answers


def _is_new_work(answer: Answer | Invalid) -> bool:
    return (
        isinstance(answer, Answer) and not answer.replayed and answer.transfer.state not in FINISHED
    )
