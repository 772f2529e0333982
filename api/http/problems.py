"""Problems: every way in which a request can fail, as an answer of RFC 9457.

Guarantees that one table maps each code to its HTTP status and title, and that a problem
carries no stack trace, SQL or secret: an unexpected error becomes one fixed sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from api.schemas.problems import ProblemDocument
from ledger.errors import InvalidField, LedgerError, Overloaded, Unavailable
from ledger.transfers import Transfer

TABLE: Final[Mapping[str, tuple[int, str]]] = {
    "invalid_request": (400, "The request is not valid"),
    "idempotency_key_missing": (400, "The Idempotency-Key is missing"),
    "insufficient_funds": (400, "Insufficient funds"),
    "unauthenticated": (401, "No valid API key"),
    "forbidden": (403, "Not allowed"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "not_acceptable": (406, "Answers are JSON only"),
    "invalid_state": (409, "Not possible in this state"),
    "too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be JSON"),
    "headers_too_large": (431, "The headers are too large"),
    "idempotency_key_reused": (422, "The Idempotency-Key was used for another request"),
    "wallet_not_found": (422, "Wallet not found"),
    "asset_mismatch": (422, "The assets differ"),
    "same_wallet": (422, "Source and destination are the same"),
    "wallet_frozen": (422, "A wallet is frozen"),
    "wallet_closed": (422, "A wallet is closed"),
    "linked_failed": (422, "A linked transfer failed"),
    "refund_exceeded": (422, "The refund is more than what is left to refund"),
    "quote_expired": (422, "The quote has expired"),
    "rolled_back": (422, "The transfer was rolled back"),
    "refused": (422, "The transfer was refused"),
    "rate_limited": (429, "Too many requests"),
    "internal_error": (500, "Internal error"),
    "unavailable": (503, "Temporarily unavailable"),
    "overloaded": (503, "Temporarily overloaded"),
    "price_unavailable": (503, "No price is available"),
}
"""code: (HTTP status, title). Codes never change; titles may be improved."""

RETRY_AFTER_S: Final = 2
"""How long a 503 asks the client to wait: a restart of the database takes about this long."""

OVERLOADED_RETRY_AFTER_S: Final = 5
"""The same for an overload, which lasts until the waiting work is done."""


class Problem(Exception):
    """A request that failed: raised anywhere in a view, answered as problem+json."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        transfer_id: str | None = None,
    ) -> None:
        """Make a problem of a code.

        errors: (JSON pointer into the body, what is wrong there), in the body's order.
        """
        super().__init__(detail)
        # A newer version may have recorded a code that this one does not know.
        self.status, self.title = TABLE.get(code, TABLE["refused"])
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.transfer_id = transfer_id

    def as_json(self, *, request_id: str) -> ProblemDocument:
        """Return the problem document."""
        document: ProblemDocument = {
            "type": f"urn:truepenny:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            document["errors"] = [
                {"pointer": pointer, "detail": detail} for pointer, detail in self.errors
            ]
        if self.transfer_id is not None:
            document["transfer_id"] = self.transfer_id
        return document


def invalid_fields(errors: Sequence[tuple[str, str]]) -> Problem:
    """Make the problem of a body with wrong fields."""
    if len(errors) == 1:
        pointer, detail = errors[0]
        summary = f"{pointer or 'The body'} {detail}."
    else:
        summary = f"{len(errors)} fields of the body cannot be used."
    return Problem("invalid_request", summary, errors=errors)


def from_ledger(error: LedgerError, *, prefix: str = "") -> Problem:
    """Translate an error of the ledger.

    prefix: the JSON pointer of the part of the body that was submitted.
    """
    if isinstance(error, InvalidField):
        return invalid_fields([(prefix + error.pointer, error.detail)])
    if isinstance(error, Overloaded):
        return overloaded()
    if isinstance(error, Unavailable):
        # The error's detail describes the database; clients get a fixed text.
        return unavailable()
    if error.code == "internal_error":
        return internal_error()
    return Problem(error.code, error.detail)


def from_failed(transfer: Transfer) -> Problem:
    """Make the problem that answers for a transfer that was rejected or rolled back."""
    failure = transfer.failure
    code, detail = (failure.code, failure.detail) if failure else ("rolled_back", "")
    return Problem(code, detail, transfer_id=str(transfer.id))


def unavailable() -> Problem:
    """Make the problem of a request that may or may not have been stored."""
    return Problem(
        "unavailable",
        "The database did not answer in time, so the request may or may not have been stored. "
        "Send it again in a moment, with the same Idempotency-Key if it had one.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def overloaded() -> Problem:
    """Make the problem of a request that is refused because the queues are full."""
    return Problem(
        "overloaded",
        "Too many transfers are waiting. Nothing was recorded; send the request again in a moment.",
        headers={"Retry-After": str(OVERLOADED_RETRY_AFTER_S)},
    )


def server_is_full() -> Problem:
    """Make the problem of a request that arrives too slowly while the server has no room."""
    return Problem(
        "overloaded",
        "Too many requests arrive at once, and this one arrived too slowly. "
        "Nothing was recorded; send it again in a moment.",
        headers={"Retry-After": str(OVERLOADED_RETRY_AFTER_S)},
    )


def internal_error() -> Problem:
    """Make the problem of an unexpected error. It shows no more than that it was logged."""
    return Problem(
        "internal_error",
        "Something went wrong in the server. The error was logged with this request_id.",
    )
