"""Answers about prices."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.fields import TimeText, time_text
from prices.decimals import plain
from prices.quotes import Quote, Source


class PriceAnswer(TypedDict):
    """A price, with its source and its age."""

    symbol: str
    price: Annotated[
        str,
        Field(
            pattern=r"^(0|[1-9][0-9]*)(\.[0-9]+)?$",
            description="The middle of bid and ask, a decimal.",
        ),
    ]
    source: Annotated[
        Source,
        Field(description="live: the market's. stale: the last one known. static: a setting."),
    ]
    as_of: Annotated[TimeText | None, Field(description="Null for a static price.")]
    age_s: Annotated[
        float | None, Field(ge=0, description="Its age in seconds. Null for a static price.")
    ]


def price_answer(quote: Quote) -> PriceAnswer:
    """Describe a price."""
    return {
        "symbol": quote.symbol,
        "price": plain(quote.price),
        "source": quote.source,
        "as_of": None if quote.as_of is None else time_text(quote.as_of),
        "age_s": None if quote.age_s is None else round(quote.age_s, 3),
    }


class PriceList(TypedDict):
    """All prices that are followed."""

    data: list[PriceAnswer]
    next_cursor: Annotated[None, Field(description="There is one page.")]
