"""Codes of errors, failures and timeline events, as enumerations of the OpenAPI document.

Guarantees nothing about what is answered: a newer version may have recorded a value that this one
does not know, and it is shown as it is. Tests compare the lists with what the code can produce,
and with docs/CODES.md.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

ERROR_CODES: Final = (
    *("invalid_request", "idempotency_key_missing", "insufficient_funds"),
    *("unauthenticated", "forbidden", "not_found", "method_not_allowed", "not_acceptable"),
    *("invalid_state", "too_large", "unsupported_media_type", "headers_too_large"),
    *("idempotency_key_reused", "wallet_not_found", "asset_mismatch", "same_wallet"),
    *("wallet_frozen", "wallet_closed", "linked_failed", "refund_exceeded", "quote_expired"),
    *("rolled_back", "refused", "rate_limited", "internal_error"),
    *("unavailable", "overloaded", "price_unavailable"),
)
FAILURE_CODES: Final = (
    *("insufficient_funds", "wallet_frozen", "wallet_closed", "rolled_back", "refused"),
    # Of a request that was buffered before it could be checked.
    *("wallet_not_found", "asset_mismatch", "same_wallet", "forbidden", "invalid_request"),
)
EVENTS: Final = (
    *("buffered", "accepted", "reserved", "deducted", "credited", "committed"),
    *("rejected", "rolled_back", "waiting", "set_aside", "retried", "redriven"),
    *("failed", "rollback_failed", "key_reused"),
)

_MORE = "A later version may have more: treat one that you do not know as"


def _one_of(values: tuple[str, ...], description: str) -> object:
    return Field(description=description, json_schema_extra={"enum": list(values)})


ErrorCode = Annotated[
    str,
    _one_of(
        ERROR_CODES,
        f"Stable. Programs should rely on this field. {_MORE} its HTTP status says.",
    ),
]
FailureCode = Annotated[
    str, _one_of(FAILURE_CODES, f"Stable. {_MORE} a transfer that failed for good.")
]
EventName = Annotated[str, _one_of(EVENTS, f"Stable. {_MORE} a note for people.")]
