"""Calls about wallets and balances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from truepenny.answers.decoding import decoder
from truepenny.answers.wallets import Balance, Posting, Wallet, WalletBalances
from truepenny.calls.paging import PAGE_SIZE, Listing, read_all
from truepenny.idempotency import checked_key, new_key
from truepenny.protocol.actions import Plan
from truepenny.protocol.calls import Call, Id, at, get, post, repeated
from truepenny.protocol.exact_json import dumps
from truepenny.protocol.exchange import exchange
from truepenny.protocol.session import Session

_wallet = decoder(Wallet)


class Unchanged:
    """The type of UNCHANGED."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Unchanged()
"""Leaves a field as it is, where None empties it."""


def create(
    session: Session,
    *,
    asset: str,
    name: str | None = None,
    external_id: str | None = None,
    kind: str | None = None,
    owner: Id | None = None,
    metadata: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> Plan[Wallet]:
    """Make an empty wallet.

    external_id: your own id of it, which no other wallet of yours may have.
    kind, owner: for admins; a `customer` wallet of the caller by default.
    idempotency_key: made if it is left out. A repeat finds the wallet that was made with it.
    """
    body = {
        "asset": asset,
        "name": name,
        "external_id": external_id,
        "kind": kind,
        "owner": None if owner is None else str(owner),
        "metadata": metadata,
    }
    key = new_key() if idempotency_key is None else checked_key(idempotency_key)
    return exchange(session, post(at("wallets"), _wallet, body=body, idempotency_key=key))


def get_one(session: Session, wallet_id: Id) -> Plan[Wallet]:
    """Return a wallet with its balance."""
    return exchange(session, get(at("wallets", wallet_id), _wallet))


def list_all(
    _session: Session,
    *,
    asset: str | None = None,
    status: str | None = None,
    kind: str | None = None,
    external_id: str | None = None,
    cursor: str | None = None,
    page_size: int = PAGE_SIZE,
) -> Listing[Wallet]:
    """List the caller's wallets (an admin's: all), oldest first."""
    query = {"asset": asset, "status": status, "kind": kind, "external_id": external_id}
    return Listing(at("wallets"), Wallet, query, cursor, page_size)


def update(
    session: Session,
    wallet_id: Id,
    *,
    name: str | Unchanged | None = UNCHANGED,
    metadata: Mapping[str, Any] | Unchanged | None = UNCHANGED,
) -> Plan[Wallet]:
    """Change the name or the metadata, each as a whole; None takes it away."""
    changes = {"name": name, "metadata": metadata}
    body = {field: value for field, value in changes.items() if value is not UNCHANGED}
    return exchange(session, Call("PATCH", at("wallets", wallet_id), _wallet, dumps(body)))


def postings(
    _session: Session, wallet_id: Id, *, cursor: str | None = None, page_size: int = PAGE_SIZE
) -> Listing[Posting]:
    """List the movements of a wallet, newest first."""
    return Listing(at("wallets", wallet_id, "postings"), Posting, {}, cursor, page_size)


def balance_at(session: Session, wallet_id: Id, moment: datetime) -> Plan[Balance]:
    """Return the balance as it stood at a time, which must say its time zone."""
    path = at("wallets", wallet_id, "balance")
    return exchange(session, get(path, decoder(Balance), query={"at": moment}))


def freeze(session: Session, wallet_id: Id) -> Plan[Wallet]:
    """Refuse all further transfers of a wallet (admins only)."""
    return exchange(session, post(at("wallets", wallet_id, "freeze"), _wallet))


def unfreeze(session: Session, wallet_id: Id) -> Plan[Wallet]:
    """Allow the transfers of a frozen wallet again (admins only)."""
    return exchange(session, post(at("wallets", wallet_id, "unfreeze"), _wallet))


def close(session: Session, wallet_id: Id) -> Plan[Wallet]:
    """Close an empty wallet for good (admins only)."""
    return exchange(session, post(at("wallets", wallet_id, "close"), _wallet))


def balances(session: Session, wallet_ids: Iterable[Id]) -> Plan[tuple[WalletBalances, ...]]:
    """Return the balances of up to 200 wallets at one moment, in the order asked for."""
    path = repeated(at("balances"), "wallet", wallet_ids)
    return exchange(session, get(path, read_all(WalletBalances)))
