"""Answers about clients and their API keys."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.fields import IdText, TimeText, time_text
from ledger.clients import ClientRecord, ClientStatus, Scope
from ledger.keys.credentials import ApiKey, KeyScope

WriteLimitText = Annotated[str | None, Field(description="Its limit of writes.")]
ItemLimitText = Annotated[
    str | None, Field(description="Its limit of transfers that are newly stored.")
]
Secret = Annotated[str, Field(description="Shown only in this answer. Only its hash is stored.")]
KeyName = Annotated[str | None, Field(description="Your name for it.")]
ExpiryText = Annotated[
    TimeText | None, Field(description="When it stops to work; null: it does not.")
]


class ClientAnswer(TypedDict):
    """A client."""

    id: IdText
    name: str
    scope: Scope
    rate_limit: WriteLimitText
    item_limit: ItemLimitText
    status: Annotated[ClientStatus, Field(description="All keys of a disabled client are refused.")]
    created_at: TimeText


class CreatedClient(TypedDict):
    """A new client, with its first key; in the answer to a repeat, without the key."""

    id: IdText
    name: str
    scope: Scope
    rate_limit: WriteLimitText
    item_limit: ItemLimitText
    status: ClientStatus
    api_key: NotRequired[Secret]


class ClientList(TypedDict):
    """A page of clients, oldest first."""

    data: list[ClientAnswer]
    next_cursor: str | None


class UsedKey(TypedDict):
    """The key that a request was made with."""

    id: IdText
    name: KeyName
    scope: KeyScope
    expires_at: ExpiryText


class KeyAnswer(TypedDict):
    """A key of a client, without its secret."""

    id: IdText
    name: KeyName
    scope: Annotated[KeyScope, Field(description="A key with the scope read changes nothing.")]
    prefix: Annotated[
        str | None,
        Field(description="How it begins; null for the first keys of version 1.0 and of admins."),
    ]
    created_at: TimeText
    expires_at: ExpiryText
    last_used_on: Annotated[
        str | None,
        Field(
            json_schema_extra={"format": "date"},
            description="The last day, in UTC, on which it was used; null: never.",
        ),
    ]


class CreatedKey(KeyAnswer):
    """A new key."""

    api_key: Secret


class KeyList(TypedDict):
    """A page of keys, oldest first."""

    data: list[KeyAnswer]
    next_cursor: str | None


class MeAnswer(TypedDict):
    """The client and the key of a request."""

    client: ClientAnswer
    key: UsedKey


def client_answer(record: ClientRecord) -> ClientAnswer:
    """Describe a client."""
    client = record.client
    return {
        "id": str(client.id),
        "name": client.name,
        "scope": client.scope,
        "rate_limit": client.rate_limit,
        "item_limit": client.item_limit,
        "status": record.status,
        "created_at": time_text(record.created_at),
    }


def created_client(record: ClientRecord, api_key: str | None) -> CreatedClient:
    """Describe a new client with its key, which no other answer shows; None for a repeat."""
    client = record.client
    described: CreatedClient = {
        "id": str(client.id),
        "name": client.name,
        "scope": client.scope,
        "rate_limit": client.rate_limit,
        "item_limit": client.item_limit,
        "status": record.status,
    }
    if api_key is not None:
        described["api_key"] = api_key
    return described


def key_answer(key: ApiKey) -> KeyAnswer:
    """Describe a key without its secret."""
    return {
        "id": str(key.id),
        "name": key.name,
        "scope": key.scope,
        "prefix": key.prefix,
        "created_at": time_text(key.created_at),
        "expires_at": None if key.expires_at is None else time_text(key.expires_at),
        "last_used_on": None if key.last_used_on is None else key.last_used_on.isoformat(),
    }


def created_key(key: ApiKey, api_key: str) -> CreatedKey:
    """Describe a new key with its secret. No other answer shows the secret."""
    return {**key_answer(key), "api_key": api_key}


def me_answer(record: ClientRecord, key: ApiKey) -> MeAnswer:
    """Describe the caller."""
    used: UsedKey = {
        "id": str(key.id),
        "name": key.name,
        "scope": key.scope,
        "expires_at": None if key.expires_at is None else time_text(key.expires_at),
    }
    return {"client": client_answer(record), "key": used}
