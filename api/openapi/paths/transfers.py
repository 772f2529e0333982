"""Operations on transfers and on batches of them."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.requests import MAX_BATCH_LENGTH, NewBatch, NewTransfer, TransferQuery
from api.schemas.transfers import BatchAnswer, TransferAnswer, TransferDetail, TransferList

SUBMITTING: Final = (
    "The answer tells how far the transfer has come. A repeat with the same key and body "
    "answers for the same transfer, carries `Idempotent-Replayed: true`, and moves nothing. "
    "A transfer that failed answers its problem, with `transfer_id`; it stays failed."
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
                description="It has committed, within the time you preferred to wait.",
                schema=TransferAnswer,
                example=examples.COMMITTED,
                headers=("Location", "Preference-Applied"),
            ),
            202: Success(
                description="It is recorded and under way; it will end, come what may.",
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
        description="Each stands or falls by itself: its result says how, in the order of the "
        "request. Pointers of errors start at the whole body. At most 4 MiB.",
        body=NewBatch,
        example=examples.NEW_BATCH,
        answers={
            202: Success(
                description="A result for each.",
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
                description="The transfer, however it stands or ended.",
                schema=TransferDetail,
                example=examples.DETAIL,
                headers=("Preference-Applied",),
            )
        },
        problems=("not_found",),
    ),
)

# Named in the contract, refused until they are built: reserved, but not described.
NOT_AVAILABLE_YET: Final = tuple(
    f"/v1/transfers/{{transfer_id}}/{action}" for action in ("capture", "void", "refund")
)
