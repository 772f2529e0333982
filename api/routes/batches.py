"""Batch requests: thousands of transfers in one request, each with a result of its own."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from api.auth.api_keys import caller, caller_credential
from api.http.body import BATCH_BODY_LIMIT
from api.http.headers import missing_key, request_id
from api.http.problems import Problem, from_failed, from_ledger, invalid_fields
from api.http.responses import json_response
from api.http.validation import MAX_ERRORS, check, parse_body
from api.schemas.requests import NewBatch, NewBatchItem
from api.schemas.transfers import BatchAnswer, Failed, Submitted
from api.services import require_room, services
from api.transfers.asset_scales import ScaleOf
from api.transfers.group_commit import Outcome
from api.transfers.requests import transfer_request
from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Kept
from ledger.errors import Invalid, InvalidField, Unavailable
from ledger.keys.credentials import Credential

MAX_ERRORS_IN_A_BATCH = 1_000
"""When the items before have had so many errors, of each item only the first is shown."""


def blueprint(prefix: str) -> Blueprint:
    """Return the route of batch requests."""
    routes = Blueprint("batches", __name__, url_prefix=f"{prefix}/transfers/batch")
    routes.post("")(create)
    return routes


def create() -> Response:
    """Submit transfers; the results are in the order of the request."""
    require_room()
    body = parse_body(NewBatch, limit=BATCH_BODY_LIMIT)
    if body.atomic:
        raise invalid_fields([("/atomic", "may only be false: true is not available yet")])
    services().item_limit.require_possible(caller(), len(body.transfers))
    checked = _check_all(
        body.transfers, sender=caller_credential(), scale_of=services().scales.for_request()
    )
    valid = [each for each in checked if isinstance(each, TransferRequest)]
    answers = iter(services().submission.submit(caller(), valid) if valid else ())
    request = request_id()
    results = [
        _error(each, request) if isinstance(each, Problem) else _result(next(answers), request)
        for each in checked
    ]
    return json_response(BatchAnswer(results=results), 202)


def _check_all(
    items: list[Any], *, sender: Credential, scale_of: ScaleOf
) -> list[TransferRequest | Problem]:
    checked: list[TransferRequest | Problem] = []
    shown = 0
    for position, item in enumerate(items):
        prefix = f"/transfers/{position}"
        if isinstance(item, dict) and item.get("idempotency_key") in (None, ""):
            checked.append(missing_key(f"{prefix}/idempotency_key"))
            continue
        try:
            max_errors = MAX_ERRORS if shown < MAX_ERRORS_IN_A_BATCH else 1
            body = check(NewBatchItem, item, prefix=prefix, max_errors=max_errors)
            request = transfer_request(
                body, sender=sender, idempotency_key=body.idempotency_key, scale_of=scale_of
            )
        except (InvalidField, Unavailable) as error:
            checked.append(from_ledger(error, prefix=prefix))
        except Problem as problem:
            shown += len(problem.errors)
            checked.append(problem)
        else:
            checked.append(request)
    return checked


def _result(answer: Outcome, request: str) -> Submitted | Failed:
    if isinstance(answer, Invalid):
        return _error(from_ledger(answer), request)
    if isinstance(answer, Kept):
        return {"id": str(answer.buffered.id), "state": "buffered"}
    if answer.transfer.failure is not None:
        return _error(from_failed(answer.transfer), request)
    return {"id": str(answer.transfer.id), "state": answer.transfer.state}


def _error(problem: Problem, request: str) -> Failed:
    return {"error": problem.as_json(request_id=request)}
