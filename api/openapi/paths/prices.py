"""Operations on prices."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.prices import PriceAnswer, PriceList

PRICED: Final = (
    "Always answers, even while Binance, the cache and the database are away: see `source` and "
    "`age_s`. A `live` price is at most 5 s old. A `stale` one is the last one known. A `static` "
    "one comes from the settings, and nothing is traded at it."
)

PRICES: Final = (
    Operation(
        method="get",
        path="/v1/prices",
        tag="prices",
        summary="List all prices that are followed",
        description=PRICED,
        answers={
            200: Success(
                description="All of them, on one page.",
                schema=PriceList,
                example=examples.PRICES,
            )
        },
    ),
    Operation(
        method="get",
        path="/v1/prices/{symbol}",
        tag="prices",
        summary="Show a price",
        description=PRICED,
        answers={
            200: Success(description="The price.", schema=PriceAnswer, example=examples.PRICE)
        },
        problems=("not_found",),
    ),
)
