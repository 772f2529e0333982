"""The query strings of requests: unknown and repeated parameters are errors."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.fields import DEFAULT_LIMIT, Cursor, Id, Limit, Time
from ledger.states import State


class Query(BaseModel):
    """Exactly these parameters, each at most once."""

    model_config = ConfigDict(strict=True, extra="forbid")


class NoQuery(Query):
    """No parameters."""


class Page(Query):
    """Which part of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = None


class TransferPage(Page):
    """Which part of which transfers."""

    wallet: Annotated[Id | None, Field(description="Only what leaves or reaches it.")] = None
    state: Annotated[State | None, Field(description="Only those in this state.")] = None
    created_after: Annotated[Time | None, Field(description="Only later ones.")] = None
    created_before: Annotated[Time | None, Field(description="Only earlier ones.")] = None


class BalanceAt(Query):
    """At which time."""

    at: Annotated[Time, Field(description="The time, not in the future.")]
