"""Answers about wallets, their postings and their balances."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.fields import AmountText, IdText, TimeText, id_text, time_text
from ledger.money import format_amount
from ledger.wallets import Leg, StatementLine, Wallet, WalletKind, WalletStatus


class WalletAnswer(TypedDict):
    """A wallet."""

    id: IdText
    owner: Annotated[IdText | None, Field(description="The client it belongs to.")]
    asset: str
    kind: WalletKind
    name: str | None
    external_id: Annotated[str | None, Field(description="The owner's own id of the wallet.")]
    status: WalletStatus
    balance: AmountText
    reserved: Annotated[AmountText, Field(description="Set aside for transfers under way.")]
    incoming: Annotated[AmountText, Field(description="Credited, but not committed yet.")]
    available: Annotated[AmountText, Field(description="balance - reserved - incoming")]
    metadata: dict[str, Any]
    created_at: TimeText


def wallet_answer(wallet: Wallet) -> WalletAnswer:
    """Describe a wallet."""
    scale = wallet.scale
    return {
        "id": str(wallet.id),
        "owner": id_text(wallet.owner_id),
        "asset": wallet.asset,
        "kind": wallet.kind,
        "name": wallet.name,
        "external_id": wallet.external_id,
        "status": wallet.status,
        "balance": format_amount(wallet.balance, scale=scale),
        "reserved": format_amount(wallet.reserved, scale=scale),
        "incoming": format_amount(wallet.incoming, scale=scale),
        "available": format_amount(wallet.available, scale=scale),
        "metadata": wallet.metadata,
        "created_at": time_text(wallet.created_at),
    }


class WalletList(TypedDict):
    """A page of wallets, oldest first."""

    data: list[WalletAnswer]
    next_cursor: str | None


class PostingAnswer(TypedDict):
    """A posting, seen from one of its two wallets."""

    transfer_id: IdText
    leg: Leg
    amount: Annotated[AmountText, Field(description="Positive when the wallet received it.")]
    balance_after: AmountText
    counterparty: Annotated[IdText, Field(description="The wallet on the other side.")]
    created_at: TimeText


def posting_answer(line: StatementLine, *, scale: int) -> PostingAnswer:
    """Describe a posting, seen from the wallet whose statement it is in."""
    return {
        "transfer_id": str(line.transfer_id),
        "leg": line.leg,
        "amount": format_amount(line.amount_minor, scale=scale),
        "balance_after": format_amount(line.balance_after_minor, scale=scale),
        "counterparty": str(line.counterparty_id),
        "created_at": time_text(line.created_at),
    }


class PostingList(TypedDict):
    """A page of postings, newest first."""

    data: list[PostingAnswer]
    next_cursor: str | None


class BalanceAnswer(TypedDict):
    """A balance at a given time."""

    wallet_id: IdText
    asset: str
    at: TimeText
    balance: AmountText


def balance_answer(wallet: Wallet, balance: int, at: datetime) -> BalanceAnswer:
    """Describe a balance at a given time. balance: in minor units of the wallet's asset."""
    return {
        "wallet_id": str(wallet.id),
        "asset": wallet.asset,
        "at": time_text(at),
        "balance": format_amount(balance, scale=wallet.scale),
    }


class WalletBalances(TypedDict):
    """What a wallet holds."""

    wallet_id: IdText
    asset: str
    balance: AmountText
    reserved: Annotated[AmountText, Field(description="Set aside for transfers under way.")]
    incoming: Annotated[AmountText, Field(description="Credited, but not committed yet.")]
    available: Annotated[AmountText, Field(description="balance - reserved - incoming")]


def wallet_balances(wallet: Wallet) -> WalletBalances:
    """Describe what a wallet holds."""
    shown = wallet_answer(wallet)
    return {
        "wallet_id": shown["id"],
        "asset": shown["asset"],
        "balance": shown["balance"],
        "reserved": shown["reserved"],
        "incoming": shown["incoming"],
        "available": shown["available"],
    }


class BalanceList(TypedDict):
    """What wallets hold at one moment, in the order asked for."""

    data: list[WalletBalances]
    next_cursor: None
