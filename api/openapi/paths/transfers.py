"""Operations on transfers, and batch requests."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.requests import MAX_BATCH_LENGTH, NewBatch, NewTransfer, TransferQuery
from api.schemas.transfers import BatchAnswer, TransferAnswer, TransferDetail, TransferList

SUBMITTING: Final = (
    "The answer shows the state of the transfer. A repeat with the same key and body answers for "
    "the same transfer, has the header `Idempotent-Replayed: true`, and moves nothing. A transfer "
    "that was rejected or rolled back is answered by a problem with its `transfer_id`, and so is "
    "every repeat."
)

REFUSALS: Final = (
    "idempotency_key_reused",
    "wallet_not_found",
    "asset_mismatch",
    "same_wallet",
    "forbidden",
)

FAILURES: Final = ("insufficient_funds", "wallet_frozen", "wallet_closed", "rolled_back")

TRANSFERS: Final = (
    Operation(
        method="post",
        path="/v1/transfers",
        tag="transfers",
        summary="Submit a transfer",
        description=SUBMITTING,
        body=NewTransfer,
        example=examples.NEW_TRANSFER,
        headers=("Idempotency-Key", "Prefer"),
        answers={
            200: Success(
                description="A repeat of a transfer that has committed.",
                schema=TransferAnswer,
                example=examples.COMMITTED,
                headers=("Location", "Idempotent-Replayed", "Preference-Applied"),
            ),
            201: Success(
                description="It has committed within the time that `Prefer` gave.",
                schema=TransferAnswer,
                example=examples.COMMITTED,
                headers=("Location", "Preference-Applied"),
            ),
            202: Success(
                description="It is recorded and under way. It will reach a final state, whatever "
                "fails meanwhile.",
                schema=TransferAnswer,
                example=examples.ACCEPTED,
                headers=("Location", "Retry-After", "Idempotent-Replayed", "Preference-Applied"),
            ),
        },
        problems=("idempotency_key_missing", "overloaded", *REFUSALS, *FAILURES),
    ),
    Operation(
        method="get",
        path="/v1/transfers",
        tag="transfers",
        summary="List the transfers that touch your wallets, newest first",
        description="With `order=recorded` it is a list for pollers: in the order of recording, "
        "with a `next_cursor` in every answer, before which nothing appears any more. A page may "
        "be short or empty although more follows. Do not poll with `created_after`: a transfer "
        "may become visible after one with a newer time.",
        query=TransferQuery,
        answers={
            200: Success(description="A page.", schema=TransferList, example=examples.TRANSFERS)
        },
    ),
    Operation(
        method="post",
        path="/v1/transfers/batch",
        tag="transfers",
        summary=f"Submit up to {MAX_BATCH_LENGTH:,} transfers",
        description="Each succeeds or fails by itself. The results are in the order of the "
        "request. JSON pointers in errors start at the whole body. At most 4 MiB. Each item that "
        "is newly stored counts against the client's `item_limit`; a batch that exceeds what is "
        "left of it is 429, and one that is larger than the whole limit 413.",
        body=NewBatch,
        example=examples.NEW_BATCH,
        answers={
            202: Success(
                description="A result for each transfer.",
                schema=BatchAnswer,
                example=examples.BATCH,
            )
        },
        problems=("overloaded",),
    ),
    Operation(
        method="get",
        path="/v1/transfers/{transfer_id}",
        tag="transfers",
        summary="Show a transfer with its timeline",
        headers=("Prefer",),
        answers={
            200: Success(
                description="The transfer, in whatever state it is.",
                schema=TransferDetail,
                example=examples.DETAIL,
                headers=("Preference-Applied",),
            )
        },
        problems=("not_found",),
    ),
)

# Reserved for later: these routes exist and refuse every request, so they are not described.
NOT_AVAILABLE_YET: Final = tuple(
    f"/v1/transfers/{{transfer_id}}/{action}" for action in ("capture", "void", "refund")
)
