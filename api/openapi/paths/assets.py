"""Operations on assets."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.assets import AssetAnswer, AssetList
from api.schemas.requests import NewAsset, PageQuery

ASSETS: Final = (
    Operation(
        method="post",
        path="/v1/assets",
        tag="assets",
        summary="Make an asset (admin)",
        description="A kind of money, for good: it can be neither changed nor deleted.",
        body=NewAsset,
        example=examples.NEW_ASSET,
        answers={
            200: Success(
                description="There was this asset already, with this scale.",
                schema=AssetAnswer,
                example=examples.ASSET,
            ),
            201: Success(
                description="The asset is made.", schema=AssetAnswer, example=examples.ASSET
            ),
        },
        problems=("forbidden", "invalid_state"),
    ),
    Operation(
        method="get",
        path="/v1/assets",
        tag="assets",
        summary="List all assets, in the order of their codes",
        query=PageQuery,
        answers={200: Success(description="A page.", schema=AssetList, example=examples.ASSETS)},
    ),
)
