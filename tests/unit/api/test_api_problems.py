"""Problems: the table of codes and statuses, and the form of a problem."""

from __future__ import annotations

import pytest

from api.http.problems import TABLE, Problem, from_ledger, invalid_fields
from ledger import errors
from ledger.errors import InvalidField, LedgerError

CONTRACT = {
    400: {"invalid_request", "idempotency_key_missing", "insufficient_funds"},
    401: {"unauthenticated"},
    403: {"forbidden"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    406: {"not_acceptable"},
    409: {"invalid_state"},
    413: {"too_large"},
    415: {"unsupported_media_type"},
    422: {
        "idempotency_key_reused",
        "wallet_not_found",
        "asset_mismatch",
        "same_wallet",
        "wallet_frozen",
        "wallet_closed",
        "linked_failed",
        "refund_exceeded",
        "quote_expired",
        "rolled_back",
        "refused",
    },
    429: {"rate_limited"},
    431: {"headers_too_large"},
    500: {"internal_error"},
    503: {"unavailable", "overloaded", "price_unavailable"},
}


def every_error(kind: type[LedgerError] = LedgerError) -> list[type[LedgerError]]:
    return [kind, *(error for sub in kind.__subclasses__() for error in every_error(sub))]


def test_the_table_is_the_contract() -> None:
    found: dict[int, set[str]] = {}
    for code, (status, title) in TABLE.items():
        assert title
        found.setdefault(status, set()).add(code)
    assert found == CONTRACT


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_ledger_has_a_status(kind: type[LedgerError]) -> None:
    assert kind.code in TABLE
    error = kind("/x", "y") if kind is InvalidField else kind()
    assert from_ledger(error).status == TABLE[kind.code][0]


@pytest.mark.parametrize(
    "error",
    [
        errors.Poisoned("INSERT INTO wallets"),
        errors.InvariantBroken("wallet 7 has 5"),
        errors.Misconfigured("no such table"),
        errors.Unavailable("password hunter2"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_internal_details_are_not_shown_to_clients(error: LedgerError) -> None:
    assert error.detail not in str(from_ledger(error).as_json(request_id="x"))


def test_unavailable_has_retry_after() -> None:
    assert int(from_ledger(errors.Unavailable()).headers["Retry-After"]) >= 1


def test_a_pointer_of_the_ledger_is_prefixed_with_the_position_in_the_body() -> None:
    problem = from_ledger(InvalidField("/amount", "must be above zero"), prefix="/transfers/3")
    assert problem.errors == [("/transfers/3/amount", "must be above zero")]


def test_one_wrong_field_is_named_in_the_detail_and_several_are_counted() -> None:
    assert invalid_fields([("/asset", "is required")]).detail == "/asset is required."
    assert invalid_fields([("", "must be an object")]).detail == "The body must be an object."
    assert "2 fields" in invalid_fields([("/a", "x"), ("/b", "y")]).detail


def test_a_code_from_a_newer_version_is_still_a_rejection() -> None:
    assert Problem("wallet_on_holiday", "Gone fishing.").status == 422


def test_members_without_a_value_are_left_out() -> None:
    members = Problem("not_found", "x").as_json(request_id="1")
    assert list(members) == ["type", "title", "status", "code", "detail", "request_id"]
