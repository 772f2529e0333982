"""Calls about single transfers: submits, reads, waits, and finds out what became of one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from truepenny.answers.decoding import decode, decoder
from truepenny.answers.transfers import TransferAnswer
from truepenny.calls.clients import me
from truepenny.calls.paging import PAGE_SIZE, Listing
from truepenny.errors import NotFound, NotSeenYet, StillUnderWay, Unavailable
from truepenny.idempotency import checked_key, new_key
from truepenny.money import amount_text
from truepenny.protocol.actions import Plan, Sleep
from truepenny.protocol.calls import Id, at, get, post
from truepenny.protocol.exchange import exchange
from truepenny.protocol.pauses import jitter_s
from truepenny.protocol.session import Session

MAX_WAIT_S = 20.0
"""How long a server keeps one request waiting at most."""
_LONGEST_PAUSE_S = 2.0


def create(
    session: Session,
    *,
    source: Id,
    destination: Id,
    amount: Decimal | int | str,
    asset: str,
    idempotency_key: str | None = None,
    reference: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    wait: float = 0.0,
) -> Plan[TransferAnswer]:
    """Move an amount from one wallet to another, exactly once.

    idempotency_key: your name for the transfer, such as the id of an order. It is made if it is
    left out; give one that you have stored, and a program that was killed can go on.
    wait: how many seconds, up to 20, the server may take to answer with the end of the transfer.

    Returns: the transfer, which may still be under way: see `has_ended`, and `wait`.
    Raises: Refused (`InsufficientFunds`, `WalletFrozen`, …): nothing was moved. NotRecorded:
    nothing was recorded. OutcomeUnknown: it may have been recorded; repeat with the same key.
    TypeError: for a float, before any request.
    """
    key = new_key() if idempotency_key is None else checked_key(idempotency_key)
    body = {
        "source": str(source),
        "destination": str(destination),
        "amount": amount_text(amount),
        "asset": asset,
        "reference": reference,
        "metadata": metadata,
    }

    def read(document: Any) -> TransferAnswer:
        found = decode(TransferAnswer, document)
        if found.idempotency_key not in (key, None):
            raise ValueError("it is about another transfer")
        return found

    call = post(
        at("transfers"),
        read,
        body=body,
        idempotency_key=key,
        names_a_transfer=True,
        wait_s=min(wait, MAX_WAIT_S),
    )
    return exchange(session, call)


def get_one(session: Session, transfer_id: Id) -> Plan[TransferAnswer]:
    """Return a transfer with its timeline."""
    return exchange(session, get(at("transfers", transfer_id), decoder(TransferAnswer)))


def list_all(
    _session: Session,
    *,
    wallet: Id | None = None,
    state: str | None = None,
    idempotency_key: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    order: str | None = None,
    cursor: str | None = None,
    page_size: int = PAGE_SIZE,
) -> Listing[TransferAnswer]:
    """List the transfers that touch the caller's wallets, newest first.

    order: `recorded` is for pollers. In the order of recording, oldest first; it ends when there
    are no more for now. Store `cursor` of what is returned, and begin with it the next time.
    """
    query = {
        "wallet": wallet,
        "state": state,
        "idempotency_key": idempotency_key,
        "created_after": created_after,
        "created_before": created_before,
        "order": order,
    }
    return Listing(at("transfers"), TransferAnswer, query, cursor, page_size)


def resume(session: Session, idempotency_key: str) -> Plan[TransferAnswer]:
    """Find out what became of the transfer with a key.

    Returns: the transfer as it is now; if it failed, `failure` says why.
    Raises: NotSeenYet: when the server has none. That is no proof that it will never come: a
    request under way may still arrive. To be sure, repeat `create` with the same key.
    """
    key = checked_key(idempotency_key)
    if session.client_id is None:
        yield from me(session)
    id = session.transfer_id(key) or ""
    try:
        return (yield from get_one(session, id))
    except NotFound:
        raise NotSeenYet(key, id) from None


def wait_for(session: Session, transfer: TransferAnswer, timeout_s: float) -> Plan[TransferAnswer]:
    """Return the transfer once it is committed. Outages meanwhile are waited for as well.

    Raises: Refused: when it failed. StillUnderWay: when the time is over; it goes on.
    """
    ends_s = session.now_s() + timeout_s
    path, polls = at("transfers", transfer.id), 0
    while not transfer.has_ended:
        left_s = ends_s - session.now_s()
        if left_s <= 0:
            raise StillUnderWay(transfer.id, transfer.state)
        call = get(path, decoder(TransferAnswer), wait_s=max(1.0, min(left_s, MAX_WAIT_S)))
        with suppress(Unavailable):  # the transfer goes on, and so does the waiting
            transfer = yield from exchange(session, call, deadline_s=left_s)
        if not transfer.has_ended:
            pause_s = min(jitter_s(polls), _LONGEST_PAUSE_S)
            yield Sleep(min(pause_s, max(ends_s - session.now_s(), 0.0)))
            polls = min(polls + 1, 10)
    if refused := transfer.refusal():
        raise refused
    return transfer
