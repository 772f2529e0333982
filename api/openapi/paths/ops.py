"""Operations for operators."""

from __future__ import annotations

from typing import Final

from api.openapi import examples
from api.openapi.operations import Operation, Success
from api.schemas.ops import OverviewAnswer

_OVERVIEW: Final[OverviewAnswer] = {
    "at": "2026-01-31T12:00:01.500000Z",
    "status": "ok",
    "components": examples.HEALTH["components"],
    "transfers": {
        "states": {
            "buffered": 0,
            "accepted": 3,
            "reserved": 0,
            "deducted": 46,
            "credited": 0,
            "committed": 182044,
            "rejected": 311,
            "rolled_back": 2,
        },
        "settled_last_minute": 9120,
        "oldest_unfinished": {"id": examples.TRANSFER, "state": "deducted", "age_s": 0.041},
    },
    "queues": [
        {"name": "money.advance", "waiting": 1, "purpose": "batches under way"},
        {"name": "intake", "waiting": 0, "purpose": "requests buffered while the database is away"},
        {
            "name": "set aside",
            "waiting": 0,
            "purpose": "buffer entries that were not replayed: an operator has to look at them",
        },
    ],
    "workers": [{"name": "money@host", "program": "money", "age_s": 2, "alive": True}],
    "breakers": [{"name": "database", "state": "closed", "detail": "the database is used"}],
    "prices": [examples.PRICE, examples.STATIC_PRICE],
    "scans": [
        {
            "name": "recovery",
            "at": "2026-01-31T12:00:00.100000Z",
            "ok": True,
            "result": "no transfer was stuck",
        }
    ],
    "warnings": [],
    "flower_url": "http://127.0.0.1:5555",
    "unknown": {},
}
OPS: Final = (
    Operation(
        method="get",
        path="/v1/ops/overview",
        tag="operations",
        summary="Show the state of all components (admin)",
        description="Answers within about a second, even when servers are away: a part that cannot "
        "be read in time is null, and `unknown` says why. Numbers are at most a few seconds old.",
        answers={
            200: Success(
                description="The parts that could be read.",
                schema=OverviewAnswer,
                example=_OVERVIEW,
            )
        },
        problems=("forbidden",),
    ),
)
