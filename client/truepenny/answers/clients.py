"""Clients and their API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime

from truepenny.answers.decoding import Answer


@dataclass(frozen=True, kw_only=True)
class Client(Answer):
    """A program that may call."""

    id: str
    name: str
    scope: str
    rate_limit: str | None
    item_limit: str | None
    status: str
    """`active` or `disabled`."""
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewClient(Answer):
    """A client that was just made."""

    id: str
    name: str
    scope: str
    rate_limit: str | None
    item_limit: str | None
    status: str
    api_key: str | None = field(default=None, repr=False)
    """Shown once. None when the answer that had it was lost: make another key for the client."""


@dataclass(frozen=True, kw_only=True)
class Key(Answer):
    """An API key, without its secret."""

    id: str
    name: str | None
    scope: str
    prefix: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_on: date | None


@dataclass(frozen=True, kw_only=True)
class NewKey(Key):
    """An API key that was just made."""

    api_key: str = field(repr=False)
    """Shown once."""


@dataclass(frozen=True, kw_only=True)
class UsedKey(Answer):
    """The key that a request was made with."""

    id: str
    name: str | None
    scope: str
    expires_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Me(Answer):
    """The caller, and the key that it used."""

    client: Client
    key: UsedKey
