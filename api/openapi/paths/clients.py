"""Operations on clients and their API keys."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.clients import (
    ClientAnswer,
    ClientList,
    CreatedClient,
    CreatedKey,
    KeyList,
    MeAnswer,
)
from api.schemas.requests import NewClient, NewKey, PageQuery

_KEYS = "/v1/clients/{client_id}/keys"

CLIENTS: Final = (
    Operation(
        method="post",
        path="/v1/clients",
        tag="clients",
        summary="Make a client (admin)",
        body=NewClient,
        example=examples.NEW_CLIENT,
        takes_key=True,
        answers={
            200: Success(
                description="A repeat: the client as it is now, without its key. If that was "
                "lost with the first answer, make another key for the client.",
                schema=CreatedClient,
                example=examples.REPEATED_CLIENT,
                headers=("Location", "Idempotent-Replayed"),
            ),
            201: Success(
                description="The client with its first key, which no later answer shows. The key "
                "may write and does not expire.",
                schema=CreatedClient,
                example=examples.CREATED_CLIENT,
                headers=("Location",),
            ),
        },
    ),
    Operation(
        method="get",
        path="/v1/clients",
        tag="clients",
        summary="List all clients, oldest first (admin)",
        query=PageQuery,
        answers={200: Success(description="A page.", schema=ClientList, example=examples.CLIENTS)},
        problems=("forbidden",),
    ),
    Operation(
        method="get",
        path="/v1/clients/{client_id}",
        tag="clients",
        summary="Show a client (admin)",
        answers={
            200: Success(description="The client.", schema=ClientAnswer, example=examples.CLIENT)
        },
        problems=("forbidden", "not_found"),
    ),
    Operation(
        method="post",
        path="/v1/clients/{client_id}/disable",
        tag="clients",
        summary="Disable a client (admin)",
        description="All its keys are refused everywhere within 10 seconds. Its transfers under "
        "way finish. The last active admin cannot be disabled.",
        takes_no_body=True,
        answers={
            200: Success(
                description="The client.", schema=ClientAnswer, example=examples.DISABLED_CLIENT
            )
        },
        problems=("not_found", "invalid_state"),
    ),
    Operation(
        method="post",
        path="/v1/clients/{client_id}/enable",
        tag="clients",
        summary="Enable a client (admin)",
        description="Its keys work again, except those that were deleted or have expired.",
        takes_no_body=True,
        answers={
            200: Success(description="The client.", schema=ClientAnswer, example=examples.CLIENT)
        },
        problems=("not_found",),
    ),
    Operation(
        method="post",
        path=_KEYS,
        tag="clients",
        summary="Make another key for a client",
        description="By the client itself, or an admin. At most 10 keys work at a time. A key "
        "that expires makes none that lives longer, except for clients with less power.",
        body=NewKey,
        example=examples.NEW_KEY,
        answers={
            201: Success(
                description="The key, which no later answer shows.",
                schema=CreatedKey,
                example=examples.CREATED_KEY,
            )
        },
        problems=("not_found", "invalid_state"),
    ),
    Operation(
        method="get",
        path=_KEYS,
        tag="clients",
        summary="List a client's keys that are not deleted, oldest first",
        description="By the client itself, or an admin.",
        query=PageQuery,
        answers={200: Success(description="A page.", schema=KeyList, example=examples.KEYS)},
        problems=("not_found",),
    ),
    Operation(
        method="delete",
        path=f"{_KEYS}/{{key_id}}",
        tag="clients",
        summary="Delete a key for good",
        description="By the client itself, or an admin. It is refused everywhere within 10 "
        "seconds. The last key of the last admin cannot be deleted.",
        takes_no_body=True,
        answers={204: Success(description="It is deleted, or was before.")},
        problems=("not_found", "invalid_state"),
    ),
    Operation(
        method="get",
        path="/v1/me",
        tag="clients",
        summary="Show who you are, and with which key",
        answers={200: Success(description="You.", schema=MeAnswer, example=examples.ME)},
    ),
)
