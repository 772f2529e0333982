"""Operations that tell how the parts are doing; they need no key."""

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
        summary="How each part is doing",
        is_open=True,
        answers={
            200: Success(
                description="ok, or degraded: requests are stored all the same.",
                schema=HealthAnswer,
                example=examples.HEALTH,
            ),
            503: Success(
                description="down: nothing can be stored or buffered.",
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
        summary="Whether this process can take transfers",
        is_open=True,
        answers={
            200: Success(
                description="It can: the database answers, or else the broker, which buffers.",
                schema=ReadyAnswer,
                example=examples.READY,
            ),
            503: Success(
                description="It can not: neither takes anything, or the queues are too full.",
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
        summary="Whether this process answers",
        is_open=True,
        answers={200: Success(description="It does.", schema=LiveAnswer, example={"status": "ok"})},
    ),
)
