"""Operations on clients."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.clients import ClientAnswer
from api.schemas.requests import NewClient

CLIENTS: Final = (
    Operation(
        method="post",
        path="/v1/clients",
        tag="clients",
        summary="Make a client (admin)",
        body=NewClient,
        example=examples.NEW_CLIENT,
        answers={
            201: Success(
                description="The client with its key, which no later answer shows.",
                schema=ClientAnswer,
                example=examples.CLIENT,
            )
        },
        problems=("forbidden",),
    ),
)
