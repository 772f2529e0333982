"""Transfer responses: the HTTP status and headers for each outcome of a POST."""

from __future__ import annotations

from uuid import UUID

from flask import Response

from api.http.problems import from_failed
from api.http.responses import json_response, problem_response
from api.schemas.transfers import buffered_answer, transfer_answer
from ledger.buffer.entries import Kept
from ledger.clients import Client
from ledger.transfers import Transfer

RETRY_AFTER_S = 1
BUFFERED_RETRY_AFTER_S = 5
"""Longer: an outage of the database lasts longer than a transfer."""


def submitted_response(
    transfer: Transfer, *, reader: Client, replayed: bool, waited: bool
) -> Response:
    """Answer a POST of a transfer, or a repeat of it.

    A transfer that was rejected is answered by its problem (`from_failed`).

    reader: the client that is answered. replayed: the key was used before, for this same transfer.
    waited: the client asked us to wait, and we did.
    """
    headers = _headers(replayed=replayed, waited=waited)
    if transfer.state == "committed":
        headers["Location"] = location(transfer.id)
        return json_response(
            transfer_answer(transfer, reader=reader), 200 if replayed else 201, headers
        )
    if transfer.failure is not None:
        return problem_response(from_failed(transfer), headers)
    headers |= {"Location": location(transfer.id), "Retry-After": str(RETRY_AFTER_S)}
    return json_response(transfer_answer(transfer, reader=reader), 202, headers)


def buffered_response(kept: Kept, *, reader: Client) -> Response:
    """Answer a POST of a transfer, or a repeat of it, that is kept until the database is back.

    It cannot end before the database is back, so `Prefer: wait` is not applied.
    """
    headers = _headers(replayed=not kept.is_new, waited=False)
    headers |= {
        "Location": location(kept.buffered.id),
        "Retry-After": str(BUFFERED_RETRY_AFTER_S),
    }
    return json_response(buffered_answer(kept.buffered, reader=reader), 202, headers)


def location(transfer_id: UUID) -> str:
    """Return the address at which the transfer can be read."""
    return f"/v1/transfers/{transfer_id}"


def _headers(*, replayed: bool, waited: bool) -> dict[str, str]:
    headers = {}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if waited:
        headers["Preference-Applied"] = "wait"
    return headers
