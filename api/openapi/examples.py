"""Examples of bodies and answers, in which Alice pays Bob 12.50 dollars for order 1001."""

from __future__ import annotations

from typing import Any

from api.http.problems import Problem
from api.schemas.assets import AssetAnswer, AssetList
from api.schemas.clients import (
    ClientAnswer,
    ClientList,
    CreatedClient,
    CreatedKey,
    KeyAnswer,
    KeyList,
    MeAnswer,
)
from api.schemas.health import ComponentAnswer, ComponentsAnswer, HealthAnswer, ReadyAnswer
from api.schemas.prices import PriceAnswer, PriceList
from api.schemas.transfers import BatchAnswer, TransferAnswer, TransferDetail, TransferList
from api.schemas.wallets import BalanceAnswer, BalanceList, PostingList, WalletAnswer, WalletList

ALICE = "0199a3c2-5e80-7a31-9c4e-2f6b8d0e1a57"
BOB = "0199a3c2-6b14-7d02-8f3a-91c7e5b2d460"
OWNER = "0199a3c1-90ab-7c55-b1de-40f2a6c8e913"
TRANSFER = "5a0c2f0e-7f0e-5f54-9a2e-b6f1d2c3a4e5"
KEY = "order-1001"

NEW_CLIENT = {"name": "shop", "scope": "client", "rate_limit": "1000/minute"}
CREATED_CLIENT: CreatedClient = {
    "id": OWNER,
    "name": "shop",
    "scope": "client",
    "rate_limit": "1000/minute",
    "item_limit": "60000/minute",
    "status": "active",
    "api_key": "tp_(shown this once)",
}
REPEATED_CLIENT: CreatedClient = {
    "id": OWNER,
    "name": "shop",
    "scope": "client",
    "rate_limit": "1000/minute",
    "item_limit": "60000/minute",
    "status": "active",
}
CLIENT: ClientAnswer = {
    "id": OWNER,
    "name": "shop",
    "scope": "client",
    "rate_limit": "1000/minute",
    "item_limit": "60000/minute",
    "status": "active",
    "created_at": "2026-01-31T12:00:00.000000Z",
}
DISABLED_CLIENT: ClientAnswer = {**CLIENT, "status": "disabled"}
CLIENTS: ClientList = {"data": [CLIENT], "next_cursor": None}

NEW_KEY = {"name": "reports", "scope": "read", "expires_at": "2027-01-31T12:00:00Z"}
KEY_OF_CLIENT: KeyAnswer = {
    "id": "0199a3c4-2c6e-7b18-a5d0-7e19f4c8b362",
    "name": "reports",
    "scope": "read",
    "prefix": "tp_Q3vXb1T",
    "created_at": "2026-01-31T12:00:00.000000Z",
    "expires_at": "2027-01-31T12:00:00.000000Z",
    "last_used_on": None,
}
CREATED_KEY: CreatedKey = {**KEY_OF_CLIENT, "api_key": "tp_(shown this once)"}
KEYS: KeyList = {"data": [{**KEY_OF_CLIENT, "last_used_on": "2026-02-01"}], "next_cursor": None}
ME: MeAnswer = {
    "client": CLIENT,
    "key": {
        "id": KEY_OF_CLIENT["id"],
        "name": "reports",
        "scope": "read",
        "expires_at": "2027-01-31T12:00:00.000000Z",
    },
}

NEW_ASSET = {"code": "JPY", "scale": 0}
ASSET: AssetAnswer = {"code": "JPY", "scale": 0}
ASSETS: AssetList = {"data": [ASSET], "next_cursor": None}

NEW_WALLET = {
    "asset": "USD",
    "name": "Alice",
    "external_id": "account-17",
    "metadata": {"customer": "A-17"},
}
WALLET: WalletAnswer = {
    "id": ALICE,
    "owner": OWNER,
    "asset": "USD",
    "kind": "customer",
    "name": "Alice",
    "external_id": "account-17",
    "status": "active",
    "balance": "100.00",
    "reserved": "12.50",
    "incoming": "0.00",
    "available": "87.50",
    "metadata": {"customer": "A-17"},
    "created_at": "2026-01-31T12:00:00.000000Z",
}
WALLET_CHANGE = {"name": "Alice Ames", "metadata": {"customer": "A-18"}}
CHANGED_WALLET: WalletAnswer = {
    **WALLET,
    "name": "Alice Ames",
    "metadata": {"customer": "A-18"},
}
FROZEN_WALLET: WalletAnswer = {**WALLET, "status": "frozen"}
EMPTY_WALLET: WalletAnswer = {
    **WALLET,
    "balance": "0.00",
    "reserved": "0.00",
    "available": "0.00",
}
CLOSED_WALLET: WalletAnswer = {**EMPTY_WALLET, "status": "closed"}
WALLETS: WalletList = {"data": [WALLET], "next_cursor": None}
POSTINGS: PostingList = {
    "data": [
        {
            "transfer_id": TRANSFER,
            "leg": "deduct",
            "amount": "-12.50",
            "balance_after": "87.50",
            "counterparty": "0199a3c0-1111-7000-8000-000000000001",
            "created_at": "2026-01-31T12:00:01.031000Z",
        }
    ],
    "next_cursor": "cG9zdGluZ3M6YTM2ODNmOTkxY2I4MDE0YjoxNzY5ODYwODAxMDMxMDAwOjQy",
}
BALANCE: BalanceAnswer = {
    "wallet_id": ALICE,
    "asset": "USD",
    "at": "2026-01-31T12:00:02.000000Z",
    "balance": "87.50",
}
BALANCES: BalanceList = {
    "data": [
        {
            "wallet_id": ALICE,
            "asset": "USD",
            "balance": "100.00",
            "reserved": "12.50",
            "incoming": "0.00",
            "available": "87.50",
        }
    ],
    "next_cursor": None,
}

NEW_TRANSFER: dict[str, Any] = {
    "source": ALICE,
    "destination": BOB,
    "amount": "12.50",
    "asset": "USD",
    "reference": "order 1001",
}
ACCEPTED: TransferAnswer = {
    "id": TRANSFER,
    "idempotency_key": KEY,
    "source": ALICE,
    "destination": BOB,
    "asset": "USD",
    "amount": "12.50",
    "state": "accepted",
    "capture": "auto",
    "expires_at": None,
    "reference": "order 1001",
    "metadata": {},
    "failure": None,
    "refund_of": None,
    "refunded": "0.00",
    "group": None,
    "created_at": "2026-01-31T12:00:01.000000Z",
    "updated_at": "2026-01-31T12:00:01.000000Z",
}
COMMITTED: TransferAnswer = {
    **ACCEPTED,
    "state": "committed",
    "updated_at": "2026-01-31T12:00:01.052000Z",
}
DETAIL: TransferDetail = {
    **COMMITTED,
    "timeline": [
        {"event": "accepted", "at": "2026-01-31T12:00:01.000000Z"},
        {"event": "reserved", "at": "2026-01-31T12:00:01.020000Z"},
        {"event": "deducted", "at": "2026-01-31T12:00:01.031000Z"},
        {"event": "credited", "at": "2026-01-31T12:00:01.042000Z"},
        {"event": "committed", "at": "2026-01-31T12:00:01.052000Z"},
    ],
}
TRANSFERS: TransferList = {"data": [COMMITTED], "next_cursor": None}
NEW_BATCH = {"transfers": [{"idempotency_key": KEY} | NEW_TRANSFER]}
BATCH: BatchAnswer = {
    "results": [
        {"id": TRANSFER, "state": "accepted"},
        {
            "error": Problem(
                "insufficient_funds",
                "The source wallet does not have this much available.",
                transfer_id="0d4c6a1e-2b3f-5c7d-8e9f-a0b1c2d3e4f5",
            ).as_json(request_id="0f8e")
        },
    ]
}

PRICE: PriceAnswer = {
    "symbol": "BTCUSDT",
    "price": "64250.015",
    "source": "live",
    "as_of": "2026-01-31T12:00:00.250000Z",
    "age_s": 1.204,
}
STATIC_PRICE: PriceAnswer = {
    "symbol": "EURUSDT",
    "price": "1.1",
    "source": "static",
    "as_of": None,
    "age_s": None,
}
PRICES: PriceList = {"data": [PRICE, STATIC_PRICE], "next_cursor": None}

_ANSWERS: ComponentAnswer = {"status": "ok", "detail": "answers"}
_COMPONENTS: ComponentsAnswer = {
    "database": _ANSWERS,
    "broker": {"status": "ok", "detail": "answers, 3 % of its memory is used"},
    "cache": {"status": "ok", "detail": "answers, 1 % of its memory is used"},
    "prices": {"status": "ok", "detail": "4 live"},
    "workers": {"status": "ok", "detail": "alive: 1 beat, 1 money, 1 scans"},
    "books": {"status": "ok", "detail": "nothing is lost or set aside"},
}
_DOWN: ComponentAnswer = {"status": "down", "detail": "no answer within 0.9 s"}
HEALTH: HealthAnswer = {"status": "ok", "components": _COMPONENTS}
DOWN: HealthAnswer = {
    "status": "down",
    "components": {**_COMPONENTS, "database": _DOWN, "broker": _DOWN},
}
READY: ReadyAnswer = {"status": "ok", "detail": "this process takes requests"}
NOT_READY: ReadyAnswer = {
    "status": "down",
    "detail": "this process is stopping and takes no more requests",
}
