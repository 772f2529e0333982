"""Operations on wallets."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.requests import (
    BalanceQuery,
    BalancesQuery,
    NewWallet,
    PageQuery,
    WalletChange,
    WalletQuery,
)
from api.schemas.wallets import BalanceAnswer, BalanceList, PostingList, WalletAnswer, WalletList

WALLETS: Final = (
    Operation(
        method="post",
        path="/v1/wallets",
        tag="wallets",
        summary="Make a wallet",
        body=NewWallet,
        example=examples.NEW_WALLET,
        takes_key=True,
        answers={
            200: Success(
                description="A repeat: the wallet as it is now.",
                schema=WalletAnswer,
                example=examples.WALLET,
                headers=("Location", "Idempotent-Replayed"),
            ),
            201: Success(
                description="The wallet, empty.",
                schema=WalletAnswer,
                example=examples.EMPTY_WALLET,
                headers=("Location",),
            ),
        },
        problems=("forbidden", "invalid_state"),
    ),
    Operation(
        method="get",
        path="/v1/wallets",
        tag="wallets",
        summary="List your wallets, oldest first",
        query=WalletQuery,
        answers={200: Success(description="A page.", schema=WalletList, example=examples.WALLETS)},
    ),
    Operation(
        method="get",
        path="/v1/wallets/{wallet_id}",
        tag="wallets",
        summary="Show a wallet",
        answers={
            200: Success(description="The wallet.", schema=WalletAnswer, example=examples.WALLET)
        },
        problems=("not_found",),
    ),
    Operation(
        method="patch",
        path="/v1/wallets/{wallet_id}",
        tag="wallets",
        summary="Change a wallet's name or metadata",
        description="A repeat changes nothing more.",
        body=WalletChange,
        example=examples.WALLET_CHANGE,
        answers={
            200: Success(
                description="The wallet.", schema=WalletAnswer, example=examples.CHANGED_WALLET
            )
        },
        problems=("not_found",),
    ),
    Operation(
        method="get",
        path="/v1/wallets/{wallet_id}/postings",
        tag="wallets",
        summary="List a wallet's postings, newest first",
        query=PageQuery,
        answers={
            200: Success(description="A page.", schema=PostingList, example=examples.POSTINGS)
        },
        problems=("not_found",),
    ),
    Operation(
        method="get",
        path="/v1/wallets/{wallet_id}/balance",
        tag="wallets",
        summary="Show a wallet's balance at a given time",
        query=BalanceQuery,
        answers={
            200: Success(description="The balance.", schema=BalanceAnswer, example=examples.BALANCE)
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
            answers={200: Success(description="The wallet.", schema=WalletAnswer, example=example)},
            problems=("forbidden", "not_found", "invalid_state"),
        )
        for action, description, example in (
            (
                "freeze",
                "No more is reserved from it or credited to it; what is already reserved goes on.",
                examples.FROZEN_WALLET,
            ),
            ("unfreeze", "Ends a freeze.", examples.WALLET),
            ("close", "Cannot be undone. The wallet must be empty.", examples.CLOSED_WALLET),
        )
    ),
    Operation(
        method="get",
        path="/v1/balances",
        tag="wallets",
        summary="Show the balances of several wallets at one moment",
        description="Up to 200 wallets, read by one statement: a step of a transfer is in all of "
        "them or in none.",
        query=BalancesQuery,
        answers={
            200: Success(
                description="The balances, in the order asked for.",
                schema=BalanceList,
                example=examples.BALANCES,
            )
        },
        problems=("not_found",),
    ),
)
