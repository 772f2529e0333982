"""Operations of /health, which need no key."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.health import HealthAnswer, LiveAnswer, ReadyAnswer

HEALTH: Final = (
    Operation(
        method="get",
        path="/health",
        tag="health",
        summary="Show the status of each component",
        is_open=True,
        answers={
            200: Success(
                description="ok, or degraded: transfers can still be stored or buffered.",
                schema=HealthAnswer,
                example=examples.HEALTH,
            ),
            503: Success(
                description="down: no transfer can be stored or buffered.",
                schema=HealthAnswer,
                example=examples.DOWN,
                headers=("Retry-After",),
            ),
        },
    ),
    Operation(
        method="get",
        path="/health/ready",
        tag="health",
        summary="Show whether requests should be sent to this process",
        is_open=True,
        answers={
            200: Success(
                description="They should, also while a server is away or the queues are full.",
                schema=ReadyAnswer,
                example=examples.READY,
            ),
            503: Success(
                description="They should not: it is stopping.",
                schema=ReadyAnswer,
                example=examples.NOT_READY,
                headers=("Retry-After",),
            ),
        },
    ),
    Operation(
        method="get",
        path="/health/live",
        tag="health",
        summary="Show that this process answers",
        is_open=True,
        answers={
            200: Success(description="It answers.", schema=LiveAnswer, example={"status": "ok"})
        },
    ),
)
