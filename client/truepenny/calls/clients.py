"""Calls about clients, their API keys, and the caller itself."""

from __future__ import annotations

from datetime import datetime

from truepenny.answers.clients import Client, Key, Me, NewClient, NewKey
from truepenny.answers.decoding import decoder
from truepenny.calls.paging import PAGE_SIZE, Listing
from truepenny.idempotency import checked_key, new_key
from truepenny.protocol.actions import Plan
from truepenny.protocol.calls import Call, Id, at, get, post, time_text
from truepenny.protocol.exchange import exchange
from truepenny.protocol.session import Session

_client = decoder(Client)


def me(session: Session) -> Plan[Me]:
    """Return the client and the key that this client calls with, and remember the client's id."""
    found = yield from exchange(session, get(at("me"), decoder(Me)))
    session.client_id = found.client.id
    return found


def create(
    session: Session,
    *,
    name: str,
    scope: str | None = None,
    rate_limit: str | None = None,
    item_limit: str | None = None,
    idempotency_key: str | None = None,
) -> Plan[NewClient]:
    """Make a client with its first API key, which is shown once (admins only).

    scope: `client` (the default) or `admin`. Limits are such as "1000/minute", or "none".
    """
    body = {"name": name, "scope": scope, "rate_limit": rate_limit, "item_limit": item_limit}
    key = new_key() if idempotency_key is None else checked_key(idempotency_key)
    call = post(at("clients"), decoder(NewClient), body=body, idempotency_key=key)
    return exchange(session, call)


def list_all(
    _session: Session, *, cursor: str | None = None, page_size: int = PAGE_SIZE
) -> Listing[Client]:
    """List all clients, oldest first (admins only)."""
    return Listing(at("clients"), Client, {}, cursor, page_size)


def get_one(session: Session, client_id: Id) -> Plan[Client]:
    """Return a client (admins only)."""
    return exchange(session, get(at("clients", client_id), _client))


def disable(session: Session, client_id: Id) -> Plan[Client]:
    """Refuse all keys of a client, within 10 s everywhere (admins only)."""
    return exchange(session, post(at("clients", client_id, "disable"), _client))


def enable(session: Session, client_id: Id) -> Plan[Client]:
    """Let a client's keys in again (admins only)."""
    return exchange(session, post(at("clients", client_id, "enable"), _client))


def create_key(
    session: Session,
    client_id: Id,
    *,
    name: str | None = None,
    scope: str | None = None,
    expires_at: datetime | None = None,
) -> Plan[NewKey]:
    """Make another API key for a client: the caller, or any for an admin.

    It has no idempotency key, so it is not sent again when its outcome is in doubt.

    scope: `write` (the default) or `read`.
    """
    expiry = None if expires_at is None else time_text(expires_at)
    body = {"name": name, "scope": scope, "expires_at": expiry}
    path = at("clients", client_id, "keys")
    return exchange(session, post(path, decoder(NewKey), body=body, is_repeatable=False))


def list_keys(
    _session: Session, client_id: Id, *, cursor: str | None = None, page_size: int = PAGE_SIZE
) -> Listing[Key]:
    """List a client's keys that are not deleted, oldest first."""
    return Listing(at("clients", client_id, "keys"), Key, {}, cursor, page_size)


def delete_key(session: Session, client_id: Id, key_id: Id) -> Plan[None]:
    """End an API key for good; it is refused within 10 s everywhere."""
    path = at("clients", client_id, "keys", key_id)
    call = Call("DELETE", path, lambda _: None, is_done_if_missing=True)
    return exchange(session, call)
