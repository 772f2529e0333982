"""What the ledger's objects look like in answers.

Plain dictionaries, made in one pass: they are on the hot path. `api/answer_models.py`
describes the same shapes for the documentation, and tests hold the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ledger.buffering import Buffered
from ledger.clients import Client
from ledger.money import format_amount
from ledger.transfers import TimelineEntry, Transfer
from ledger.wallets import StatementLine, Wallet
from prices.decimals import plain
from prices.quotes import Quote

Json = dict[str, Any]


def time_text(at: datetime) -> str:
    """Print a time as RFC 3339 in UTC, with microseconds: 2026-01-31T12:00:00.000000Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def client_json(client: Client, api_key: str) -> Json:
    """Describe a new client, with the key that is shown this once."""
    return {
        "id": str(client.id),
        "name": client.name,
        "scope": client.scope,
        "api_key": api_key,
    }


def wallet_json(wallet: Wallet) -> Json:
    """Describe a wallet."""
    scale = wallet.scale
    return {
        "id": str(wallet.id),
        "owner": _text_or_none(wallet.owner_id),
        "asset": wallet.asset,
        "kind": wallet.kind,
        "name": wallet.name,
        "status": wallet.status,
        "balance": format_amount(wallet.balance, scale=scale),
        "reserved": format_amount(wallet.reserved, scale=scale),
        "incoming": format_amount(wallet.incoming, scale=scale),
        "available": format_amount(wallet.available, scale=scale),
        "metadata": wallet.metadata,
        "created_at": time_text(wallet.created_at),
    }


def posting_json(line: StatementLine, *, scale: int) -> Json:
    """Describe a posting as its wallet sees it."""
    return {
        "transfer_id": str(line.transfer_id),
        "leg": line.leg,
        "amount": format_amount(line.amount, scale=scale),
        "balance_after": format_amount(line.balance_after, scale=scale),
        "counterparty": str(line.counterparty_id),
        "created_at": time_text(line.created_at),
    }


def balance_json(wallet: Wallet, balance: int, at: datetime) -> Json:
    """Describe a balance as it stood."""
    return {
        "wallet_id": str(wallet.id),
        "asset": wallet.asset,
        "at": time_text(at),
        "balance": format_amount(balance, scale=wallet.scale),
    }


def transfer_json(transfer: Transfer) -> Json:
    """Describe a transfer, without its timeline."""
    failure = transfer.failure
    return {
        "id": str(transfer.id),
        "source": str(transfer.source_id),
        "destination": str(transfer.destination_id),
        "asset": transfer.asset,
        "amount": format_amount(transfer.amount, scale=transfer.scale),
        "state": transfer.state,
        "capture": transfer.capture,
        "expires_at": transfer.expires_at and time_text(transfer.expires_at),
        "reference": transfer.reference,
        "metadata": transfer.metadata,
        "failure": failure and {"code": failure.code, "detail": failure.detail},
        "refund_of": _text_or_none(transfer.refund_of),
        "refunded": format_amount(transfer.refunded, scale=transfer.scale),
        "group": _text_or_none(transfer.group_id),
        "created_at": time_text(transfer.created_at),
        "updated_at": time_text(transfer.updated_at),
    }


def buffered_json(buffered: Buffered) -> Json:
    """Describe a request that is going to be a transfer, in the shape of one."""
    request, at = buffered.request, time_text(buffered.at)
    return {
        "id": str(buffered.id),
        "source": str(request.source_id),
        "destination": str(request.destination_id),
        "asset": request.asset,
        "amount": format_amount(request.amount, scale=request.scale),
        "state": "buffered",
        "capture": "auto",
        "expires_at": None,
        "reference": request.reference,
        "metadata": request.metadata or {},
        "failure": None,
        "refund_of": None,
        "refunded": format_amount(0, scale=request.scale),
        "group": None,
        "created_at": at,
        "updated_at": at,
    }


def buffered_timeline_json(buffered: Buffered) -> list[Json]:
    """Describe what a buffered request has been through."""
    return timeline_json([TimelineEntry("buffered", buffered.at)])


def timeline_json(entries: list[TimelineEntry]) -> list[Json]:
    """Describe a transfer's life; what a moment has nothing to say about is left out."""
    return [
        {
            "event": entry.event,
            "at": time_text(entry.at),
            **({} if entry.worker is None else {"worker": entry.worker}),
            **({} if entry.attempt is None else {"attempt": entry.attempt}),
            **({} if entry.detail is None else {"detail": entry.detail}),
        }
        for entry in entries
    ]


def price_json(quote: Quote) -> Json:
    """Describe a price, with where it comes from and how old it is."""
    return {
        "symbol": quote.symbol,
        "price": plain(quote.price),
        "source": quote.source,
        "as_of": quote.as_of and time_text(quote.as_of),
        "age_s": None if quote.age_s is None else round(quote.age_s, 3),
    }


def _text_or_none(value: UUID | None) -> str | None:
    return None if value is None else str(value)
