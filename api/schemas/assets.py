"""Answers about assets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from ledger.assets import Asset


class AssetAnswer(TypedDict):
    """A kind of money."""

    code: str
    scale: Annotated[int, Field(description="The number of decimals of all its amounts.")]


def asset_answer(asset: Asset) -> AssetAnswer:
    """Describe an asset."""
    return {"code": asset.code, "scale": asset.scale}


class AssetList(TypedDict):
    """A page of assets, in the order of their codes."""

    data: list[AssetAnswer]
    next_cursor: str | None
