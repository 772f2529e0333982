"""A network that is played: each script is what the attempts of a call come to, in order."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import truepenny
from truepenny.environment import Server
from truepenny.protocol.actions import HttpAnswer, Outcome, Plan, Send, SendFailure, Sleep
from truepenny.protocol.session import Session

CLIENT_ID = str(uuid.uuid4())
KEY = "order-1"
NO_CONNECTION = SendFailure("refused", has_left=False)
CUT = SendFailure("cut", has_left=True)
Script = Sequence[HttpAnswer | SendFailure]


def answer(status: int, document: Any = None, **headers: str) -> HttpAnswer:
    body = b"" if document is None else json.dumps(document).encode()
    return HttpAnswer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def problem(status: int, code: str, **more: Any) -> HttpAnswer:
    document = {"code": code, "detail": "why", "status": status, "request_id": "r", **more}
    return answer(status, document)


def transfer(**changes: Any) -> dict[str, Any]:
    at = "2026-01-31T12:00:00.000000Z"
    document: dict[str, Any] = {
        "id": truepenny.transfer_id(CLIENT_ID, KEY),
        "idempotency_key": KEY,
        "source": "s",
        "destination": "d",
        "asset": "USD",
        "amount": "1.00",
        "state": "accepted",
        "capture": "auto",
        "expires_at": None,
        "reference": None,
        "metadata": {},
        "failure": None,
        "refund_of": None,
        "refunded": "0.00",
        "group": None,
        "created_at": at,
        "updated_at": at,
    }
    return document | changes


DONE = answer(201, transfer())
REFUSED = problem(400, "insufficient_funds", transfer_id="t")
STRANGER = problem(401, "unauthenticated")
LIMITED = problem(429, "rate_limited")
OVERLOADED = problem(503, "overloaded")
UNAVAILABLE = problem(503, "unavailable")
NOT_RECORDED = problem(503, "unavailable", recorded=False)


@dataclass
class Scripted(Session):
    """A session whose time passes only in pauses. It keeps what was done."""

    time_s: float = 0.0
    sent: list[Send] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def now_s(self) -> float:
        return self.time_s


def session(**limits: Any) -> Scripted:
    # A key of its own has a brake of its own.
    return Scripted(Server("http://test", uuid.uuid4().hex), client_id=CLIENT_ID, **limits)


def play(plan: Plan[Any], script: Script, on: Scripted) -> Any:
    """Carry out a plan. When all of the script has been answered, its last is repeated."""
    outcome: Outcome = None
    answers = itertools.chain(script, itertools.repeat(script[-1]))
    try:
        while True:
            action = plan.send(outcome)
            if isinstance(action, Sleep):
                on.pauses.append(action.seconds)
                on.time_s += action.seconds
                outcome = None
            else:
                on.sent.append(action)
                outcome = next(answers)
    except StopIteration as end:
        return end.value
