"""Every operation of the contract that is served, in the order in which the page shows them."""

from __future__ import annotations

from typing import Final

from api import answer_models as answers
from api import bodies, queries
from api.openapi import examples
from api.openapi.client_error_paths import CLIENT_ERRORS
from api.openapi.operations import Answer, Operation
from api.openapi.ops_paths import OPS
from api.openapi.reconciliation_paths import RECONCILIATIONS

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

PRICED: Final = (
    "Always answers, also while Binance, the cache and the database are away: `source` and "
    "`age_s` say how good the price is. `live` is at most 5 s old; `stale` is the last one known; "
    "`static` comes from the settings, and nothing is traded at it."
)

CLIENTS: Final = (
    Operation(
        method="post",
        path="/v1/clients",
        tag="clients",
        summary="Let a client in (admin)",
        body=bodies.NewClient,
        example=examples.NEW_CLIENT,
        answers={
            201: Answer(
                description="The client, with its key, which cannot be had again.",
                model=answers.ClientAnswer,
                example=examples.CLIENT,
            )
        },
        problems=("forbidden",),
    ),
)

WALLETS: Final = (
    Operation(
        method="post",
        path="/v1/wallets",
        tag="wallets",
        summary="Make a wallet",
        body=bodies.NewWallet,
        example=examples.NEW_WALLET,
        answers={
            201: Answer(
                description="The wallet, empty.",
                model=answers.WalletAnswer,
                example=examples.EMPTY_WALLET,
                headers=("Location",),
            )
        },
        problems=("forbidden",),
    ),
    Operation(
        method="get",
        path="/v1/wallets",
        tag="wallets",
        summary="List your wallets, oldest first",
        query=queries.Page,
        answers={
            200: Answer(description="A page.", model=answers.WalletList, example=examples.WALLETS)
        },
    ),
    Operation(
        method="get",
        path="/v1/wallets/{wallet_id}",
        tag="wallets",
        summary="Show a wallet",
        answers={
            200: Answer(
                description="The wallet.", model=answers.WalletAnswer, example=examples.WALLET
            )
        },
        problems=("not_found",),
    ),
    Operation(
        method="get",
        path="/v1/wallets/{wallet_id}/postings",
        tag="wallets",
        summary="List a wallet's postings, newest first",
        query=queries.Page,
        answers={
            200: Answer(description="A page.", model=answers.PostingList, example=examples.POSTINGS)
        },
        problems=("not_found",),
    ),
    Operation(
        method="get",
        path="/v1/wallets/{wallet_id}/balance",
        tag="wallets",
        summary="Show a wallet's balance as it stood at a time",
        query=queries.BalanceAt,
        answers={
            200: Answer(
                description="The balance.", model=answers.BalanceAnswer, example=examples.BALANCE
            )
        },
        problems=("not_found",),
    ),
    *(
        Operation(
            method="post",
            path=f"/v1/wallets/{{wallet_id}}/{action}",
            tag="wallets",
            summary=f"{action.capitalize()} a wallet (admin)",
            description=description,
            takes_no_body=True,
            answers={
                200: Answer(description="The wallet.", model=answers.WalletAnswer, example=example)
            },
            problems=("forbidden", "not_found", "invalid_state"),
        )
        for action, description, example in (
            (
                "freeze",
                "Nothing is reserved from it or arrives in it; what is already reserved goes on.",
                examples.FROZEN_WALLET,
            ),
            ("unfreeze", "Undoes freeze.", examples.WALLET),
            ("close", "For good. It must be empty.", examples.CLOSED_WALLET),
        )
    ),
)

TRANSFERS: Final = (
    Operation(
        method="post",
        path="/v1/transfers",
        tag="transfers",
        summary="Submit a transfer",
        description=SUBMITTING,
        body=bodies.NewTransfer,
        example=examples.NEW_TRANSFER,
        headers=("Idempotency-Key", "Prefer"),
        answers={
            200: Answer(
                description="A repeat of a transfer that has committed.",
                model=answers.TransferAnswer,
                example=examples.COMMITTED,
                headers=("Location", "Idempotent-Replayed", "Preference-Applied"),
            ),
            201: Answer(
                description="It has committed, within the time you preferred to wait.",
                model=answers.TransferAnswer,
                example=examples.COMMITTED,
                headers=("Location", "Preference-Applied"),
            ),
            202: Answer(
                description="It is recorded and under way; it will end, come what may.",
                model=answers.TransferAnswer,
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
        query=queries.TransferPage,
        answers={
            200: Answer(
                description="A page.", model=answers.TransferList, example=examples.TRANSFERS
            )
        },
    ),
    Operation(
        method="post",
        path="/v1/transfers/batch",
        tag="transfers",
        summary=f"Submit up to {bodies.MAX_BATCH_LENGTH:,} transfers",
        description="Each stands or falls by itself: its result says how, in the order of the "
        "request. Pointers of errors start at the whole body. At most 4 MiB.",
        body=bodies.NewBatch,
        example=examples.NEW_BATCH,
        answers={
            202: Answer(
                description="A result for each.",
                model=answers.BatchAnswer,
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
            200: Answer(
                description="The transfer, however it stands or ended.",
                model=answers.TransferDetail,
                example=examples.DETAIL,
                headers=("Preference-Applied",),
            )
        },
        problems=("not_found",),
    ),
)

PRICES: Final = (
    Operation(
        method="get",
        path="/v1/prices",
        tag="prices",
        summary="List all prices that are followed",
        description=PRICED,
        answers={
            200: Answer(
                description="All of them, on one page.",
                model=answers.PriceList,
                example=examples.PRICES,
            )
        },
    ),
    Operation(
        method="get",
        path="/v1/prices/{symbol}",
        tag="prices",
        summary="Show a price",
        description=PRICED,
        answers={
            200: Answer(description="The price.", model=answers.PriceAnswer, example=examples.PRICE)
        },
        problems=("not_found",),
    ),
)

HEALTH: Final = (
    Operation(
        method="get",
        path="/health",
        tag="health",
        summary="How each part is doing",
        is_open=True,
        answers={
            200: Answer(
                description="ok, or degraded: requests are stored all the same.",
                model=answers.HealthAnswer,
                example=examples.HEALTH,
            ),
            503: Answer(
                description="down: nothing can be stored or buffered.",
                model=answers.HealthAnswer,
                example=examples.DOWN,
                headers=("Retry-After",),
            ),
        },
    ),
    Operation(
        method="get",
        path="/health/ready",
        tag="health",
        summary="Whether this process can take transfers",
        is_open=True,
        answers={
            200: Answer(
                description="It can: the database answers, or else the broker, which buffers.",
                model=answers.ReadyAnswer,
                example=examples.READY,
            ),
            503: Answer(
                description="It can not: neither takes anything, or the queues are too full.",
                model=answers.ReadyAnswer,
                example=examples.NOT_READY,
                headers=("Retry-After",),
            ),
        },
    ),
    Operation(
        method="get",
        path="/health/live",
        tag="health",
        summary="Whether this process answers",
        is_open=True,
        answers={
            200: Answer(description="It does.", model=answers.LiveAnswer, example={"status": "ok"})
        },
    ),
)

# Named in the contract, refused until they are built: reserved, but not described.
NOT_AVAILABLE_YET: Final = tuple(
    f"/v1/transfers/{{transfer_id}}/{action}" for action in ("capture", "void", "refund")
)

OPERATIONS: Final = (
    *TRANSFERS,
    *WALLETS,
    *PRICES,
    *CLIENTS,
    *RECONCILIATIONS,
    *OPS,
    *HEALTH,
    *CLIENT_ERRORS,
)
