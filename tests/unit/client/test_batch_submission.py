"""One request of a batch: what is sent again, and what is said about each of its items."""

from __future__ import annotations

import json
from typing import Any

import pytest

import truepenny
from tests.unit.client.scripted import (
    CLIENT_ID,
    CUT,
    LIMITED,
    NO_CONNECTION,
    STRANGER,
    Script,
    answer,
    play,
    session,
)
from truepenny import NewTransfer
from truepenny.calls.batches import Cutter, submit

KEYS = ["a", "b", "c"]
OK = {"id": "i", "state": "accepted"}


def error(status: int, code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"status": status, "code": code, "detail": "why", "request_id": "r", **more}}


def results(*each: dict[str, Any]) -> Any:
    return answer(202, {"results": list(each)})


UNAVAILABLE = error(503, "unavailable")
OVERLOADED = error(503, "overloaded")
INVALID = error(400, "invalid_request")
LACKS = error(400, "insufficient_funds", transfer_id="t")
UNKNOWN, NOT_RECORDED = truepenny.OutcomeUnknown, truepenny.NotRecorded
REFUSED = truepenny.InvalidRequest

CASES: list[tuple[Script, list[type[Exception] | None], type[Exception] | None, list[str]]] = [
    ([results(OK, OK, OK)], [None] * 3, None, ["abc"]),
    ([results(OK, INVALID, OK)], [None, REFUSED, None], None, ["abc"]),
    # What may be tried again is, by itself and with its key.
    ([results(OK, UNAVAILABLE, OK), results(OK)], [None] * 3, None, ["abc", "b"]),
    ([results(OK, OVERLOADED, OK), results(OK)], [None] * 3, None, ["abc", "b"]),
    (
        [results(OK, UNAVAILABLE, OVERLOADED), results(UNAVAILABLE, OVERLOADED)],
        [None, UNKNOWN, NOT_RECORDED],
        None,
        ["abc", *["bc"] * 5],
    ),
    # A refusal after a doubt counts only if it is about the transfer.
    (
        [results(OK, UNAVAILABLE, UNAVAILABLE), results(INVALID, LACKS)],
        [None, UNKNOWN, truepenny.InsufficientFunds],
        None,
        ["abc", "bc"],
    ),
    (
        [CUT, results(OK, INVALID, LACKS)],
        [None, UNKNOWN, truepenny.InsufficientFunds],
        None,
        ["abc", "abc"],
    ),
    # The request as a whole failed.
    ([CUT], [UNKNOWN] * 3, UNKNOWN, ["abc"] * 6),
    ([NO_CONNECTION], [NOT_RECORDED] * 3, NOT_RECORDED, ["abc"] * 6),
    ([LIMITED], [NOT_RECORDED] * 3, NOT_RECORDED, ["abc"] * 6),
    ([STRANGER], [truepenny.Unauthenticated] * 3, truepenny.Unauthenticated, ["abc"]),
    ([CUT, STRANGER], [UNKNOWN] * 3, UNKNOWN, ["abc", "abc"]),
    (
        [results(OK, UNAVAILABLE, OVERLOADED), STRANGER],
        [None, UNKNOWN, truepenny.Unauthenticated],
        truepenny.Unauthenticated,
        ["abc", "bc"],
    ),
    # An answer that is not about this request says nothing.
    ([results(OK)], [UNKNOWN] * 3, UNKNOWN, ["abc"] * 6),
    ([results(OK, {"id": 1}, OK)], [UNKNOWN] * 3, UNKNOWN, ["abc"] * 6),
]


@pytest.mark.parametrize(("script", "errors", "raised", "sent"), CASES)
def test_every_item_has_one_true_result(
    script: Script,
    errors: list[type[Exception] | None],
    raised: type[Exception] | None,
    sent: list[str],
) -> None:
    on, cutter = session(), Cutter()
    for key in KEYS:
        cutter.add(
            NewTransfer(source="s", destination="d", amount=1, asset="USD", idempotency_key=key)
        )
    submitted = play(submit(on, cutter.rest(), deadline_s=300), script, on)
    assert [each.idempotency_key for each in submitted.results] == KEYS
    assert [each.error and type(each.error) for each in submitted.results] == errors
    assert (submitted.error and type(submitted.error)) == raised
    assert [keys_in(each.body) for each in on.sent] == sent
    for each in submitted.results:
        if isinstance(each.error, truepenny.OutcomeUnknown):
            assert each.error.idempotency_key == each.idempotency_key
            assert each.transfer_id == truepenny.transfer_id(CLIENT_ID, each.idempotency_key)


def keys_in(body: bytes | None) -> str:
    return "".join(each["idempotency_key"] for each in json.loads(body or b"")["transfers"])
